/** Towards which colour guidance pulls each patch: means of two pictures, held against each other in OKLab. */

import { oklab } from '../../lib/colours';
import { byPatch } from './maps';

/** A step in OKLab: `light` brighter, `red` from green to red, `yellow` from blue to yellow. */
export interface Pull {
  light: number;
  red: number;
  yellow: number;
}

interface Grid {
  width: number;
  height: number;
  rows: number;
  columns: number;
}

/** Mean colours of the patches, row after row. */
function patchColours(bytes: Uint8Array, { width, height, rows, columns }: Grid): [number, number, number][] {
  const [red, green, blue] = [0, 1, 2].map((channel) =>
    byPatch(
      bytes.filter((_, at) => at % 3 === channel),
      width,
      height,
      rows,
      columns,
    ),
  );
  return Array.from(red, (value, patch) => [value, green[patch], blue[patch]]);
}

/** From each patch's colour without the prompt to the one with it, as many times as far as guidance goes. */
export function pulls(
  without: Uint8Array,
  prompted: Uint8Array,
  { guidance, ...grid }: Grid & { guidance: number },
): Pull[] {
  const [from, to] = [patchColours(without, grid), patchColours(prompted, grid)];
  return from.map((colour, patch) => {
    const [one, other] = [oklab(colour), oklab(to[patch])];
    return {
      light: guidance * (other[0] - one[0]),
      red: guidance * (other[1] - one[1]),
      yellow: guidance * (other[2] - one[2]),
    };
  });
}

const LEAST_LONGEST = 0.02; // what nobody sees does not become a long arrow

/** The longest step in colour, without brightness. */
export const mostPull = (all: readonly Pull[]): number =>
  all.reduce((best, { red, yellow }) => Math.max(best, Math.hypot(red, yellow)), LEAST_LONGEST);

const SEEN = 0.005; // a step in OKLab below which two colours look the same

/** A pull in words: "redder by 0.12, darker by 0.05". */
export function sayPull({ light, red, yellow }: Pull): string {
  const said = (
    [
      [red, 'redder', 'greener'],
      [yellow, 'yellower', 'bluer'],
      [light, 'lighter', 'darker'],
    ] as const
  )
    .filter(([value]) => Math.abs(value) >= SEEN)
    .sort(([one], [other]) => Math.abs(other) - Math.abs(one))
    .map(([value, more, less]) => `${value > 0 ? more : less} by ${Math.abs(value).toFixed(2)}`);
  return said.join(', ') || 'no other colour to speak of';
}

/** An arrow in each patch, in the colour towards which it goes; as long as the square root of its step, the longest as a patch. */
export function drawPulls(
  context: CanvasRenderingContext2D,
  all: readonly Pull[],
  {
    wide,
    high,
    rows,
    columns,
    longest,
  }: { wide: number; high: number; rows: number; columns: number; longest: number },
): void {
  const cell = Math.min(wide / columns, high / rows);
  all.forEach(({ red, yellow }, patch) => {
    const length = Math.sqrt(Math.hypot(red, yellow) / longest) * cell * 0.9;
    if (Math.hypot(red, yellow) < SEEN) return;
    const angle = Math.atan2(-yellow, red);
    context.save();
    context.translate(
      (((patch % columns) + 0.5) * wide) / columns,
      ((Math.floor(patch / columns) + 0.5) * high) / rows,
    );
    context.rotate(angle);
    const head = Math.min(length * 0.5, cell * 0.28);
    const path = new Path2D();
    path.moveTo(-length / 2, 0);
    path.lineTo(length / 2, 0);
    path.moveTo(length / 2 - head, -head * 0.7);
    path.lineTo(length / 2, 0);
    path.lineTo(length / 2 - head, head * 0.7);
    context.lineCap = context.lineJoin = 'round';
    context.lineWidth = 4.5;
    context.strokeStyle = '#000000';
    context.stroke(path);
    context.lineWidth = 2.25;
    context.strokeStyle = `oklab(0.86 ${(0.16 * Math.cos(angle)).toFixed(3)} ${(-0.16 * Math.sin(angle)).toFixed(3)})`;
    context.stroke(path);
    context.restore();
  });
}
