/** Two readings of one text side by side. */
import type { TextTrace } from './about';
import { nearest } from './sampling';

export interface Weighed {
  text: string;
  /** Probability on either side; null: not among the candidates that are known there. */
  left: number | null;
  right: number | null;
}

/** The likeliest tokens after the last one at temperature 1, by their text. */
export function following(trace: TextTrace): Map<string, number> {
  const found = new Map<string, number>();
  if (!trace.has('candidates.ids')) return found;
  const last = trace.about.tokens.length - 1;
  const [ids, logits] = [trace.row('candidates.ids', last), trace.row('candidates.logits', last)];
  const sum = trace.at('logsumexp', last, nearest(trace.about.temperatures, 1));
  ids.forEach((id, index) => {
    const text = textOf(trace, id);
    found.set(text, (found.get(text) ?? 0) + Math.exp(logits[index] - sum));
  });
  return found;
}
export function textOf(trace: TextTrace, id: number): string {
  return trace.about.texts?.[id] ?? trace.about.tokens.find((token) => token.id === id)?.text ?? `token ${id}`;
}

/** The `count` likeliest of either side, those first whose larger probability is largest. */
export function weigh(left: Map<string, number>, right: Map<string, number>, count = 10): Weighed[] {
  const best = (one: Map<string, number>): string[] =>
    [...one.entries()]
      .sort((a, b) => b[1] - a[1])
      .slice(0, count)
      .map(([text]) => text);
  const texts = new Set([...best(left), ...best(right)]);
  return [...texts]
    .map((text) => ({ text, left: left.get(text) ?? null, right: right.get(text) ?? null }))
    .sort((a, b) => Math.max(b.left ?? 0, b.right ?? 0) - Math.max(a.left ?? 0, a.right ?? 0))
    .slice(0, count + 4);
}

/** Whether both are made of the same tokens, so that numbers can be taken from one another place by place. */
export const sameTokens = (left: TextTrace, right: TextTrace): boolean =>
  left.about.tokens.length === right.about.tokens.length &&
  left.about.tokens.every((token, place) => token.text === right.about.tokens[place].text);

/** Attention of one head, or the mean of all of a layer's (head −1) or of the model's (layer −1 too). */
export function attentionOf(trace: TextTrace, layer: number, head: number): Float32Array | null {
  const layers = layer < 0 ? trace.about.model.layers : 1;
  const time = trace.about.tokens.length;
  const sum = new Float32Array(time * time);
  let parts = 0;
  for (let at = 0; at < layers; at++) {
    const name = `attention.${layer < 0 ? at : layer}`;
    if (!trace.has(name)) return null;
    const heads = trace.shape(name)[0];
    for (let one = 0; one < heads; one++) {
      if (head >= 0 && one !== head) continue;
      const shares = trace.row(name, one);
      for (let index = 0; index < sum.length; index++) sum[index] += shares[index];
      parts++;
    }
  }
  return parts > 0 ? sum.map((value) => value / parts) : null;
}

/** The text that a trace is of, without what only the model sees. */
export const textRead = (trace: TextTrace): string =>
  trace.about.tokens
    .filter((token) => !token.special)
    .map((token) => token.text)
    .join('');
