/**
 * The tour from token to picture, in order. It is data (lessons.json), so that tests/lessons can hold every claim that is
 * made here against the numbers of the bundled models.
 */
import type { Values } from '../lib/address.svelte';
import lessons from './lessons.json';

export type Mini =
  | { kind: 'tokens'; model: string; texts: string[] }
  | { kind: 'neighbours'; model: string; word: string }
  | { kind: 'order'; model: string; otherwise: string; first: string; second: string }
  | { kind: 'window'; model: string; text: string }
  | { kind: 'attention'; model: string; text: string; layer: number; head: number; from: string }
  | { kind: 'heads'; model: string; text: string }
  | { kind: 'stream'; model: string; text: string }
  | { kind: 'next'; model: string; text: string }
  | { kind: 'step'; model: string; text: string }
  | { kind: 'cross'; model: string; prompt: string; seed: number; word: string }
  | { kind: 'film'; model: string; prompt: string; seed: number }
  | { kind: 'guidance'; model: string; prompt: string; seed: number };

export interface Claim {
  says: string;
  /** How tests/lessons checks it. */
  check: { kind: string };
}
export interface Lesson {
  id: string;
  part: 'text' | 'picture';
  title: string;
  lead: string;
  text: string[];
  claims: Claim[];
  figure: Mini;
  links: { says: string; page: string; values: Values }[];
}

export const LESSONS = lessons as unknown as readonly Lesson[];
