/** Numbers of a figure as rows and columns: asked for cell by cell, so that a matrix of 512 × 512 costs nothing until it is looked at. */
export interface Table {
  columns: readonly { name: string; numeric?: boolean }[];
  rows: number;
  cell: (row: number, column: number) => string | number;
}

/** A table from rows that are there already. */
export function tableOf(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): Table {
  return {
    columns: columns.map((name, column) => ({ name, numeric: rows.length > 0 && typeof rows[0][column] === 'number' })),
    rows: rows.length,
    cell: (row, column) => rows[row][column],
  };
}
