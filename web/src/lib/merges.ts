/** Merges replayed: how a tokenizer puts a word together from its smallest pieces. */

import type { MergedWord } from './api';

/** A word after its first `count` merges; `fresh` is the place of the last one made, or null. */
export function replay(word: MergedWord, count: number): { pieces: string[]; fresh: number | null } {
  const pieces = [...word.pieces];
  let fresh: number | null = null;
  for (const { at, piece } of word.steps.slice(0, Math.max(0, count))) {
    pieces.splice(at, 2, piece);
    fresh = at;
  }
  return { pieces, fresh: count > 0 && count <= word.steps.length ? fresh : null };
}

/** The most merges that any word needs. */
export const longest = (words: readonly MergedWord[]): number =>
  words.reduce((most, word) => Math.max(most, word.steps.length), 0);
