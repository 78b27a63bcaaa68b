/** What of a picture's trace is looked at, as the address has it. The studio's page and the report share it. */

import type { PictureTrace } from '../../lib/about';
import { address } from '../../lib/address.svelte';
import { isDetailed, nearestDetailed } from './maps';

export type Measure = 'lift' | 'share';

/** A number within 0 … below `count`, or what stands for it. */
function within(key: string, count: number, otherwise: number | null): number | null {
  const value = address.number(key, -1);
  return Number.isInteger(value) && value >= 0 && value < count ? value : otherwise;
}

export function viewOf(trace: () => PictureTrace) {
  const about = $derived(trace().about);
  const detail = $derived(trace().has('words.layer_head') ? trace().shape('words.layer_head') : null);
  const word = $derived(within('word', about.words.length, null));
  // A quarter of the way there is noise enough, and picture enough.
  const look = $derived(within('look', about.looks.length, Math.floor((about.looks.length - 1) / 4))!);
  const measure: Measure = $derived(address.get('measure') === 'share' ? 'share' : 'lift');
  const one = $derived(address.get('span') === 'one');
  const layer = $derived(detail ? within('layer', detail[1], null) : null);
  const head = $derived(detail ? within('head', detail[2], null) : null);
  const patch = $derived(within('patch', about.grid[0] * about.grid[1], null));
  const ownLayer = $derived(within('ownlayer', about.model.layers, null));
  const ownHead = $derived(within('ownhead', about.model.heads, null));
  return {
    get word() {
      return word;
    },
    /** Which of the trace's looks the film strip shows. */
    get look() {
      return look;
    },
    /** Whether maps are of that look alone, not the mean of all. */
    get one() {
      return one;
    },
    get measure() {
      return measure;
    },
    get layer() {
      return layer;
    },
    get head() {
      return head;
    },
    /** The patch whose own attention is looked at, in which layer and head. */
    get patch() {
      return patch;
    },
    get ownLayer() {
      return ownLayer;
    },
    get ownHead() {
      return ownHead;
    },
    /** The look that maps are of; null: all. Of layers and heads only some looks were kept. */
    get mapped(): number | null {
      if (!one) return null;
      if ((layer !== null || head !== null) && !isDetailed(about, look)) return nearestDetailed(about, look).look;
      return look;
    },
    set: address.set.bind(address),
  };
}

/** What can be chosen of layers or heads: all of them, or one. */
export const numbered = (count: number, name: string): { value: string; label: string }[] => [
  { value: '', label: `all ${name}s` },
  ...Array.from({ length: count }, (_, at) => ({ value: String(at), label: `${name} ${at}` })),
];
export type View = ReturnType<typeof viewOf>;
