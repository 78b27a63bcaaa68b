/** What the studio answers about words and their order, as `limner.explain` has it. */

export interface Neighbour {
  word: string;
  similarity: number;
}
export type Among = 'table' | 'words';
export interface Neighbours {
  word: string;
  tokens: string[];
  vector_of: string;
  among: Among;
  searched: number;
  found: Neighbour[];
}
export interface Analogy {
  a: string;
  b: string;
  c: string;
  among: Among;
  searched: number;
  found: Neighbour[];
  with_inputs: Neighbour[];
}
export interface MapAbout {
  model: string;
  words: string[];
  layout: 'principal' | 'neighbours';
  source: Among;
  kept: number;
  explained: [number, number];
}
export interface Sighting {
  text: string;
  tokens: string[];
  places: number[];
}
export interface Drift {
  word: string;
  first: Sighting;
  second: Sighting;
  causal: boolean;
  similarity: number[];
  references: Record<string, [number[], number[]]>;
  strangers: number[] | null;
}

export interface Added {
  kind: 'learned' | 'sinusoidal';
  vectors: number[][];
  similarity: number[][];
  share: number;
}
export interface Turned {
  kind: 'rotary';
  layers: number[];
  channels: number;
  angles: number[][];
  turn: number[];
  score: number[];
}
export interface Penalized {
  kind: 'alibi';
  layers: number[];
  slopes: number[];
  bias: number[][];
}
export interface Positions {
  kind: 'learned' | 'sinusoidal' | 'rotary' | 'alibi' | 'none';
  count: number;
  context_length: number;
  causal: boolean;
  added: Added | null;
  within: (Turned | Penalized)[];
}

export interface OrderReading {
  similarity: number;
  largest_difference: number | null;
  pairs: { token: string; places: [number, number]; similarity: number }[];
  next: { id: number; text: string; probability: number }[][];
}
export interface Order {
  texts: [string, string];
  tokens: [string[], string[]];
  same_tokens: boolean;
  causal: boolean;
  positions: Positions['kind'];
  with_positions: OrderReading;
  without_positions: OrderReading;
}

/** How a model tells where tokens stand, in words. */
export const SAID: Record<Positions['kind'], string> = {
  learned: 'a vector for each place, learned in training, is added to the token’s own',
  sinusoidal: 'a vector of sines and cosines for each place is added to the token’s own',
  rotary: 'queries and keys are turned by angles that grow with the place',
  alibi: 'attention to far tokens is made smaller, more so in some heads than in others',
  none: 'it is not told at all',
};
