/** Attention as it is kept: bytes for shares, one square a head, rows are queries. */

/** One head's matrix. `scale` is what byte 255 stands for. */
export interface Head {
  bytes: Uint8Array;
  size: number;
  scale: number;
}

/** Shares of one query over all keys. */
export function rowOf({ bytes, size, scale }: Head, query: number): Float32Array {
  return Float32Array.from(bytes.subarray(query * size, (query + 1) * size), (byte) => (byte / 255) * scale);
}
/** What each query gives to one key. */
export function columnOf({ bytes, size, scale }: Head, key: number): Float32Array {
  return Float32Array.from({ length: size }, (_, query) => (bytes[query * size + key] / 255) * scale);
}
export const shareAt = ({ bytes, size, scale }: Head, query: number, key: number): number =>
  (bytes[query * size + key] / 255) * scale;

/**
 * A square made smaller: each pixel is the largest of what it covers, so that a lone line of attention is not averaged
 * away. Only the lower triangle is read where nothing is above it.
 */
export function pool(
  bytes: Uint8Array,
  size: number,
  to: number,
  causal: boolean,
  into = new Uint8Array(to * to),
): Uint8Array {
  if (to >= size) throw new RangeError(`a square of ${size} cannot be pooled to ${to}`);
  // Which pixel each column falls into; rows are the same.
  const starts = new Uint32Array(to + 1);
  for (let pixel = 0; pixel <= to; pixel++) starts[pixel] = Math.floor((pixel * size) / to);
  into.fill(0);
  for (let row = 0; row < to; row++) {
    const target = row * to;
    for (let query = starts[row]; query < starts[row + 1]; query++) {
      const from = query * size;
      const ends = causal ? Math.min(row + 1, to) : to;
      for (let column = 0; column < ends; column++) {
        let best = into[target + column];
        const end = starts[column + 1];
        for (let key = starts[column]; key < end; key++) {
          const value = bytes[from + key];
          if (value > best) best = value;
        }
        into[target + column] = best;
      }
    }
  }
  return into;
}

export interface Habit {
  /** Mean share, over the queries that have a choice, of the first token, the token itself and the one before. */
  first: number;
  self: number;
  previous: number;
}

/** What a head mostly does, in three numbers. */
export function habit({ bytes, size, scale }: Head): Habit {
  const sums = { first: 0, self: 0, previous: 0 };
  const from = Math.min(2, size - 1); // the first two queries have next to no choice
  for (let query = from; query < size; query++) {
    sums.first += bytes[query * size];
    sums.self += bytes[query * size + query];
    sums.previous += query > 0 ? bytes[query * size + query - 1] : 0;
  }
  const unit = scale / 255 / Math.max(1, size - from);
  return { first: sums.first * unit, self: sums.self * unit, previous: sums.previous * unit };
}

/** The same in a few words. */
export function sayHabit({ first, self, previous }: Habit): string {
  const named: [number, string][] = [
    [first, 'the first token'],
    [previous, 'the token before'],
    [self, 'the token itself'],
  ];
  const [share, what] = named.reduce((best, item) => (item[0] > best[0] ? item : best));
  return share >= 0.4 ? `mostly at ${what} (${Math.round(share * 100)}%)` : 'no single habit';
}
