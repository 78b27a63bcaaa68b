/** Where the words of a prompt went: maps of a picture's trace, brought into what a figure can show. */

import type { PictureAbout, PictureTrace } from '../../lib/about';

/** Which looks, layers and heads a map is the mean of; null: all. */
export interface Chosen {
  /** Which of the trace's looks, not its number. */
  look: number | null;
  layer: number | null;
  head: number | null;
}

/** Maps of all words as bytes, brought to one scale. */
export interface Maps {
  /** One for each word, rows × columns. */
  bytes: Uint8Array[];
  /** What byte 255 stands for. */
  full: number;
  /** A byte's part of 255 in words. */
  say: (part: number) => string;
}

/** The picture's words, or none of them, as the address has them. */
export const ALL: Chosen = { look: null, layer: null, head: null };

/** Whether each layer and head of this look was kept. */
export function isDetailed(about: PictureAbout, look: number | null): boolean {
  return look === null || (about.detailed ?? []).includes(about.looks[look]?.number);
}

/** Of the looks that were kept in detail the one nearest to this; as places among `looks` and among `detailed`. */
export function nearestDetailed(about: PictureAbout, look: number): { look: number; place: number } {
  const numbers = about.looks.map(({ number }) => number);
  let best = { look: 0, place: 0 };
  let distance = Infinity;
  (about.detailed ?? []).forEach((number, place) => {
    const at = numbers.indexOf(number);
    if (at >= 0 && Math.abs(at - look) < distance) {
      distance = Math.abs(at - look);
      best = { look: at, place };
    }
  });
  return best;
}

/** For each word the share of attention that it gets in each patch, rows × columns; mean of what is chosen. */
export function wordShares(trace: PictureTrace, { look, layer, head }: Chosen): Float32Array[] {
  const [rows, columns] = trace.about.grid;
  const size = rows * columns;
  const words = trace.about.words.length;
  const sums = Array.from({ length: words }, () => new Float32Array(size));
  let count = 0;
  const add = (values: ArrayLike<number>): void => {
    for (let word = 0; word < words; word++) {
      const sum = sums[word];
      for (let patch = 0; patch < size; patch++) sum[patch] += values[word * size + patch];
    }
    count++;
  };
  if (layer === null && head === null) {
    const looks = trace.shape('words')[0];
    for (let at = 0; at < looks; at++) if (look === null || look === at) add(trace.row('words', at));
  } else {
    const [looks, layers, heads] = trace.shape('words.layer_head');
    const place = look === null ? null : nearestDetailed(trace.about, look).place;
    for (let at = 0; at < looks; at++) {
      if (place !== null && place !== at) continue;
      for (let l = 0; l < layers; l++) {
        if (layer !== null && layer !== l) continue;
        for (let h = 0; h < heads; h++) {
          if (head === null || head === h) add(trace.row('words.layer_head', at, l, h));
        }
      }
    }
  }
  if (count > 1) for (const sum of sums) for (let patch = 0; patch < size; patch++) sum[patch] /= count;
  return sums;
}

/** Which of a look's layers how patches look at each other is kept of, in order. */
export function ownLayers(trace: PictureTrace, number: number): number[] {
  const start = `self_attention.${number}.`;
  return trace.names
    .flatMap((name) => (name.startsWith(start) ? [Number(name.slice(start.length))] : []))
    .sort((a, b) => a - b);
}

/** The look nearest to a look's number of which it is kept how patches look at each other; null: of none. */
export function nearestOwn(trace: PictureTrace, number: number): number | null {
  const kept = trace.names.flatMap((name) => (name.startsWith('self_attention.') ? [Number(name.split('.')[1])] : []));
  return kept.reduce<number | null>(
    (best, one) => (best === null || Math.abs(one - number) < Math.abs(best - number) ? one : best),
    null,
  );
}

/** What one patch looks at in each layer and head that is kept of a look, layer after layer, each rows × columns. */
export function patchMaps(trace: PictureTrace, number: number, patch: number): Float32Array[] {
  return ownLayers(trace, number).flatMap((layer) => {
    const name = `self_attention.${number}.${layer}`;
    return Array.from({ length: trace.shape(name)[0] }, (_, head) => Float32Array.from(trace.row(name, head, patch)));
  });
}

/** The mean of some maps. */
export function meanMap(maps: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array(maps[0]?.length ?? 0);
  for (const map of maps) for (let at = 0; at < sum.length; at++) sum[at] += map[at] / maps.length;
  return sum;
}

/** The mean of all values. */
export const mean = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at];
  return values.length > 0 ? sum / values.length : 0;
};

/**
 * How many times its own average over the picture each word gets in each patch. Words at which the model rests its eyes
 * everywhere (it must look somewhere) have much attention and no place; against their own average they are 1 all over.
 */
export function lifts(shares: readonly Float32Array[]): Float32Array[] {
  return shares.map((share) => {
    const average = mean(share);
    return average > 0 ? share.map((value) => value / average) : share.map(() => 1);
  });
}

/** The largest of all values. */
export const largest = (maps: readonly ArrayLike<number>[]): number =>
  maps.reduce((best, map) => Math.max(best, most(map)), 0);
/** The largest value of a map. */
export function most(map: ArrayLike<number>): number {
  let best = 0;
  for (let at = 0; at < map.length; at++) if (map[at] > best) best = map[at];
  return best;
}

const LEAST_FULL = 4; // times the average: below it nothing has full light, so that chance is not made to look like more

/** Lifts as bytes: 1 and less is dark, twice as much is a step up, the same step everywhere. */
export function liftMaps(values: readonly Float32Array[]): Maps {
  const full = Math.max(LEAST_FULL, largest(values));
  const unit = 255 / Math.log2(full);
  const bytes = values.map((map) => Uint8Array.from(map, (value) => Math.round(unit * Math.max(0, Math.log2(value)))));
  const say = (part: number): string => (part <= 0 ? 'no more than usual' : `${times(full ** part)} its average`);
  return { bytes, full, say };
}

/** Shares as bytes: the largest has full light. */
export function shareMaps(values: readonly Float32Array[], percent: (share: number) => string): Maps {
  const full = largest(values) || 1;
  const bytes = values.map((map) => Uint8Array.from(map, (value) => Math.round((255 * value) / full)));
  return { bytes, full, say: (part) => percent(part * full) };
}

/** 2.345 → "2.3×". */
export const times = (value: number): string => `${value < 9.95 ? value.toFixed(1) : Math.round(value)}×`;

/** A word has a place where the model looks for it at least so much more than on average. */
export const PLACE = 2;

/** The patches where a word has its place, or none. */
export function placeOf(lift: ArrayLike<number>): boolean[] {
  return Array.from(lift, (value) => value >= PLACE);
}

/** Where in the picture a patch is, in words: "top left", "middle". */
export function sayPlace(row: number, column: number, rows: number, columns: number): string {
  const third = (at: number, of: number): number => Math.min(2, Math.floor(((at + 0.5) / of) * 3));
  const vertical = ['top', '', 'bottom'][third(row, rows)];
  const horizontal = ['left', '', 'right'][third(column, columns)];
  return [vertical, horizontal].filter(Boolean).join(' ') || 'middle';
}

/** Where a word went, as a sentence says it; the strongest patch decides. */
export function sayWhere(lift: ArrayLike<number>, rows: number, columns: number): { strongest: number; place: string } {
  let at = 0;
  for (let patch = 1; patch < lift.length; patch++) if (lift[patch] > lift[at]) at = patch;
  return { strongest: lift[at] ?? 0, place: sayPlace(Math.floor(at / columns), at % columns, rows, columns) };
}

/** How far two pictures are apart in each pixel, 0 to 1: the mean of the channels, as `limner.explain` has it. */
export function difference(one: ArrayLike<number>, other: ArrayLike<number>): Float32Array {
  const found = new Float32Array(one.length / 3);
  for (let pixel = 0, at = 0; pixel < found.length; pixel++, at += 3) {
    found[pixel] =
      (Math.abs(one[at] - other[at]) + Math.abs(one[at + 1] - other[at + 1]) + Math.abs(one[at + 2] - other[at + 2])) /
      765;
  }
  return found;
}

/** Means over patches of what is there for pixels. */
export function byPatch(
  pixels: ArrayLike<number>,
  width: number,
  height: number,
  rows: number,
  columns: number,
): Float32Array {
  const sums = new Float32Array(rows * columns);
  const counts = new Float32Array(rows * columns);
  for (let y = 0; y < height; y++) {
    const row = Math.min(rows - 1, Math.floor((y * rows) / height));
    for (let x = 0; x < width; x++) {
      const patch = row * columns + Math.min(columns - 1, Math.floor((x * columns) / width));
      sums[patch] += pixels[y * width + x];
      counts[patch]++;
    }
  }
  return sums.map((sum, patch) => sum / (counts[patch] || 1));
}

/** The mean within some patches and the mean elsewhere; null where there are none. */
export function inside(values: ArrayLike<number>, within: readonly boolean[]): { in: number; out: number } | null {
  let [inSum, inCount, outSum, outCount] = [0, 0, 0, 0];
  within.forEach((yes, patch) => {
    if (yes) [inSum, inCount] = [inSum + values[patch], inCount + 1];
    else [outSum, outCount] = [outSum + values[patch], outCount + 1];
  });
  return inCount > 0 && outCount > 0 ? { in: inSum / inCount, out: outSum / outCount } : null;
}
