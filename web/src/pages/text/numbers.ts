/**
 * What the views of a text show, out of its trace. The token that is looked at is the one in question: what it was drawn
 * from and why stands at the token before it, where it looked stands at itself. One place beyond the last is the token that
 * would come next.
 */

import { textOf, type TextTrace, type TraceToken } from '../../lib/about';
import { rowOf, type Head } from '../../lib/attention';
import type { Known } from '../../lib/sampling';
import { bits } from '../../lib/say';

/** The tokens, and one for what would come next where the model says so. */
export function itemsOf(trace: TextTrace): TraceToken[] {
  const { tokens } = trace.about;
  return trace.has('candidates.ids') ? [...tokens, { id: -1, text: 'next?', special: true, written: false }] : tokens;
}

/** Bits of surprise of each token; not a number for the first, and for the one to come. */
export function surpriseOf(trace: TextTrace): Float64Array | null {
  if (!trace.has('logprobs')) return null;
  const values = trace.values('logprobs');
  return Float64Array.from({ length: values.length + 1 }, (_, place) =>
    place === 0 || place >= values.length ? NaN : bits(-values[place]),
  );
}

export interface Candidates {
  known: Known;
  candidates: { id: number; text: string }[];
  /** The token that stands there; null: none yet. */
  actual: number | null;
}

/** What a token was drawn from. */
export function candidatesFor(trace: TextTrace, place: number): Candidates | null {
  if (place < 1 || !trace.has('candidates.ids')) return null;
  const ids = trace.row('candidates.ids', place - 1);
  return {
    known: {
      logits: trace.row('candidates.logits', place - 1),
      logsumexp: trace.row('logsumexp', place - 1),
      temperatures: trace.about.temperatures,
      vocab_size: trace.about.model.vocab_size,
    },
    candidates: Array.from(ids, (id) => ({ id, text: textOf(trace, id) })),
    actual: trace.about.tokens[place]?.id ?? null,
  };
}

/** Its rank among these: 1 is the likeliest; null: not among the known ones. */
export function rankOf({ candidates, actual }: Candidates): number | null {
  const found = candidates.findIndex((candidate) => candidate.id === actual);
  return found < 0 ? null : found + 1;
}

export const hasAttention = (trace: TextTrace): boolean => trace.has('attention.0');

/** How many heads a layer really has: models may have fewer in some. */
export const headsIn = (trace: TextTrace, layer: number): number => trace.shape(`attention.${layer}`)[0];

/** Gives one head's matrix. */
export function headsOf(trace: TextTrace): (layer: number, head: number) => Head {
  const size = trace.about.tokens.length;
  return (layer, head) => {
    const name = `attention.${layer}`;
    if (head >= headsIn(trace, layer)) return { bytes: new Uint8Array(size * size), size, scale: 0 };
    const { data, scale } = trace.rowKept(name, head);
    return { bytes: data as Uint8Array, size, scale: scale ?? 1 };
  };
}

export interface Glance {
  layer: number;
  head: number;
  key: number;
  share: number;
}

/**
 * Where a token looked most of all: of each head its strongest share, of those the strongest few. The first token is left
 * out, which heads look at when they look at nothing, and so is the token itself.
 */
export function glances(trace: TextTrace, query: number, count: number): Glance[] {
  const get = headsOf(trace);
  const found: Glance[] = [];
  for (let layer = 0; layer < trace.about.model.layers; layer++) {
    for (let head = 0; head < headsIn(trace, layer); head++) {
      const row = rowOf(get(layer, head), query);
      let best = -1;
      row.forEach((share, key) => {
        const counts = key !== query && !(key === 0 && trace.about.tokens[0].special);
        if (counts && (best < 0 || share > row[best])) best = key;
      });
      if (best >= 0) found.push({ layer, head, key: best, share: row[best] });
    }
  }
  return found.sort((a, b) => b.share - a.share).slice(0, count);
}

export interface Part {
  name: string;
  value: number;
  parts?: { name: string; value: number }[];
}

/** The ledger of a token's logit: who gave how much. */
export function ledgerFor(trace: TextTrace, place: number): Part[] | null {
  if (place < 1 || !trace.has('ledger.logit')) return null;
  const at = place - 1;
  const row = trace.row('ledger.logit', at);
  const { layers } = trace.about.model;
  const parts: Part[] = [{ name: 'embedding', value: row[0] }];
  for (let layer = 0; layer < layers; layer++) {
    const heads = trace.has('ledger.heads') ? trace.row('ledger.heads', at, layer) : null;
    parts.push({
      name: `attention ${layer}`,
      value: row[1 + 2 * layer],
      parts: heads ? Array.from(heads, (value, head) => ({ name: `head ${head}`, value })) : undefined,
    });
    parts.push({ name: `feed-forward ${layer}`, value: row[2 + 2 * layer] });
  }
  parts.push({ name: 'bias and rest', value: row[row.length - 1] });
  return parts;
}

/** The first few of a layer's guesses for what follows the token at `place`. */
export function guessesOf(trace: TextTrace): (layer: number, place: number) => { text: string; logprob: number }[] {
  return (layer, place) => {
    const logprobs = trace.row('lens.logprobs', layer, place);
    return Array.from(trace.row('lens.ids', layer, place), (id, rank) => ({
      text: textOf(trace, id),
      logprob: logprobs[rank],
    }));
  };
}

export function neuronsAt(trace: TextTrace, place: number): { neuron: number; value: number }[][] {
  return Array.from({ length: trace.about.model.layers }, (_, layer) => {
    const values = trace.row('neurons.values', layer, place);
    return Array.from(trace.row('neurons.ids', layer, place), (neuron, rank) => ({ neuron, value: values[rank] }));
  });
}

/** The text of the tokens, as it would be read; halves of characters stay as they are shown. */
export const plainText = (tokens: readonly TraceToken[]): string =>
  tokens.map((token) => (token.special ? '' : token.text)).join('');
