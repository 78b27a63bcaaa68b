/** Changes of a text model: out of an address, into it, and switched on and off again. */

import type { Change } from '../../lib/about';

const whole = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0;
const text = (value: unknown): value is string => typeof value === 'string';

/** The changes in an address; what is none is left out, and what the model has no place for, the server says. */
export function readChanges(said: string): Change[] {
  let found: unknown;
  try {
    found = JSON.parse(said || '[]');
  } catch {
    return [];
  }
  return Array.isArray(found) ? found.filter(isChange) : [];
}

function isChange(value: unknown): value is Change {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, layer, head, neuron, name, source, place, from, towards, away, strength } = value as Record<
    string,
    unknown
  >;
  switch (kind) {
    case 'head_off':
      return whole(layer) && whole(head);
    case 'attention_off':
    case 'feed_forward_off':
      return whole(layer);
    case 'neuron_off':
      return whole(layer) && whole(neuron);
    case 'patch':
      return text(name) && text(source) && whole(place) && whole(from);
    case 'steer':
      return whole(layer) && text(towards) && text(away) && typeof strength === 'number';
    case 'positions_off':
      return true;
    default:
      return false;
  }
}

export const same = (a: Change, b: Change): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The change added, or taken out where it is there already. */
export const toggled = (changes: readonly Change[], change: Change): Change[] =>
  changes.some((one) => same(one, change)) ? changes.filter((one) => !same(one, change)) : [...changes, change];

/** What a column of the map stands for, of heads first, then the whole attention, then the feed-forward. */
export function changeAt(layer: number, column: number, heads: number): Change {
  if (column < heads) return { kind: 'head_off', layer, head: column };
  return { kind: column === heads ? 'attention_off' : 'feed_forward_off', layer };
}

export const columnsOf = (heads: number): { short: string; name: string }[] => [
  ...Array.from({ length: heads }, (_, head) => ({ short: String(head), name: `head ${head}` })),
  { short: 'all', name: 'all heads' },
  { short: 'ff', name: 'feed-forward' },
];
