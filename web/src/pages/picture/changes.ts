/** Changes of a picture: as the address has them, in words, and those that a report shows. */

import type { Change } from '../../lib/about';

const KINDS = ['weigh_word', 'remove_word', 'replace_word', 'head_off', 'attention_off', 'feed_forward_off'] as const;
export type PictureChange = Extract<Change, { kind: (typeof KINDS)[number] }>;

/** The heads that read the prompt, or those with which the picture reads itself. */
export type Part = 'cross_attention' | 'attention';
export type HeadChange = Extract<PictureChange, { kind: 'head_off' }>;

const whole = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;

/** The changes in an address; what is none is left out, as an address may be anything. */
export function readChanges(text: string): PictureChange[] {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    return [];
  }
  if (!Array.isArray(values)) return [];
  return values.flatMap((value: Record<string, unknown> | null): PictureChange[] => {
    const { kind, word, weight, by, layer, head, where } = value ?? {};
    const place = where === 'attention' ? ({ where: 'attention' } as const) : {};
    if (kind === 'weigh_word' && whole(word) && typeof weight === 'number') return [{ kind, word, weight }];
    if (kind === 'remove_word' && whole(word)) return [{ kind, word }];
    if (kind === 'replace_word' && whole(word) && typeof by === 'string') return [{ kind, word, by }];
    if (kind === 'head_off' && whole(layer) && whole(head)) return [{ kind, layer, head, ...place }];
    if (kind === 'attention_off' && whole(layer)) return [{ kind, layer, ...place }];
    if (kind === 'feed_forward_off' && whole(layer)) return [{ kind, layer }];
    return [];
  });
}

export const writeChanges = (changes: readonly PictureChange[]): string =>
  changes.length > 0 ? JSON.stringify(changes) : '';

/** Changes without those of the same word or part as one that is among them, or else with it. */
export const toggled = (changes: readonly PictureChange[], change: PictureChange): PictureChange[] => {
  const left = changes.filter((one) => one.kind !== change.kind || subject(one) !== subject(change));
  return left.length < changes.length ? left : withChange(changes, change);
};

/** A change with those that were made before: of one word, or of one head, the last counts. */
export function withChange(changes: readonly PictureChange[], change: PictureChange): PictureChange[] {
  return [...changes.filter((one) => subject(one) !== subject(change)), change];
}
function subject(change: PictureChange): string {
  switch (change.kind) {
    case 'weigh_word':
    case 'remove_word':
    case 'replace_word':
      return `word ${change.word}`;
    case 'head_off':
      return `head ${change.layer} ${change.head} ${change.where ?? 'cross_attention'}`;
    case 'attention_off':
      return `attention ${change.layer} ${change.where ?? 'cross_attention'}`;
    case 'feed_forward_off':
      return `feed-forward ${change.layer}`;
  }
}

/** A change in a few words, for a person: “red” removed. */
export function say(change: PictureChange, words: readonly { text: string }[]): string {
  const word = (number: number): string => `“${words[number]?.text ?? `word ${number + 1}`}”`;
  switch (change.kind) {
    case 'weigh_word':
      return change.weight === 0 ? `${word(change.word)} hidden` : `${word(change.word)} × ${change.weight}`;
    case 'remove_word':
      return `without ${word(change.word)}`;
    case 'replace_word':
      return `${word(change.word)} → “${change.by}”`;
    case 'head_off':
      return `layer ${change.layer}, head ${change.head} off${change.where === 'attention' ? ' (picture)' : ''}`;
    case 'attention_off':
      return `layer ${change.layer}: ${change.where === 'attention' ? 'own attention' : 'reading the prompt'} off`;
    case 'feed_forward_off':
      return `layer ${change.layer}: feed-forward off`;
  }
}

/** A picture painted with a change, as a report carries it (`limner.explain.picture_interventions`). */
export interface Painted {
  change: PictureChange;
  /** What was painted. */
  prompt: string;
  /** A data URL, perhaps smaller than the picture. */
  picture: string;
  /** The mean difference of all pixels, 0 to 1. */
  changed: number;
  /** The same of each patch, row after row. */
  patches: number[];
}

/** Pictures painted with a change, in what a report carries besides its trace or a server says; what is damaged is left out. */
export function readPainted(given: unknown): Painted[] {
  const values = Array.isArray(given) ? (given as Record<string, unknown>[]) : [];
  return values.flatMap((value) => {
    const [change] = readChanges(JSON.stringify([value?.change ?? null]));
    const { prompt, picture, changed, patches } = value ?? {};
    const sound =
      change &&
      typeof prompt === 'string' &&
      typeof picture === 'string' &&
      /^data:image\/(webp|png);base64,/.test(picture) &&
      typeof changed === 'number' &&
      Array.isArray(patches) &&
      patches.every((one) => typeof one === 'number');
    return sound ? [{ change, prompt, picture, changed, patches } as Painted] : [];
  });
}
