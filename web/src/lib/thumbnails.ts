/** Every head of a model made small: worked off a few milliseconds a frame, kept for each size, so that a page never stands still. */

import { pool, type Head } from './attention';
import { ROOT } from './canvas';

export interface Thumbnails {
  /** Pixels a side of each. */
  readonly edge: number;
  readonly heads: number;
  /** Bytes of one, root taken; null while it is not made yet. */
  of(layer: number, head: number): Uint8Array | null;
  /** Make more until the time is up. Gives those that were made, and whether all are. */
  work(budget: number, now?: () => number): { made: [number, number][]; done: boolean };
}

export function thumbnails(
  get: (layer: number, head: number) => Head,
  layers: number,
  heads: number,
  edge: number,
  causal: boolean,
): Thumbnails {
  const made: (Uint8Array | null)[] = new Array<Uint8Array | null>(layers * heads).fill(null);
  let next = 0;
  const make = (index: number): Uint8Array => {
    const { bytes, size } = get(Math.floor(index / heads), index % heads);
    const small = size > edge ? pool(bytes, size, edge, causal) : Uint8Array.from(bytes);
    for (let at = 0; at < small.length; at++) small[at] = ROOT[small[at]];
    return small;
  };
  return {
    edge,
    heads,
    of: (layer, head) => made[layer * heads + head],
    work(budget, now = () => performance.now()) {
      const until = now() + budget;
      const fresh: [number, number][] = [];
      while (next < made.length && (fresh.length === 0 || now() < until)) {
        made[next] = make(next);
        fresh.push([Math.floor(next / heads), next % heads]);
        next++;
      }
      return { made: fresh, done: next >= made.length };
    },
  };
}
