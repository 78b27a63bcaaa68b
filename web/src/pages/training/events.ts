/** What a run's events say, as figures want it. */

import type { Point } from '../../lib/chart';

/** One line of a run's `events.jsonl`. */
export interface RunEvent {
  event: string;
  step?: number;
  loss?: number | null;
  rate?: number;
  gradient_norm?: number;
  training_loss?: number | null;
  samples?: string[];
  probes?: Record<string, [number, number]>;
  [more: string]: unknown;
}

const points = (events: readonly RunEvent[], kind: string, key: string): Point[] =>
  events.flatMap((event) => {
    const value = event[key];
    return event.event === kind && typeof event.step === 'number' && typeof value === 'number'
      ? [{ step: event.step, value }]
      : [];
  });

export const losses = (events: readonly RunEvent[]): Point[] => {
  const logged = points(events, 'step', 'loss');
  // A run so short that hardly a step was logged still tells its mean loss at each evaluation.
  const told = points(events, 'evaluation', 'training_loss');
  return logged.length >= told.length ? logged : told;
};
export const heldBack = (events: readonly RunEvent[]): Point[] => points(events, 'evaluation', 'loss');
export const rates = (events: readonly RunEvent[]): Point[] => points(events, 'step', 'rate');
export const gradients = (events: readonly RunEvent[]): Point[] => points(events, 'step', 'gradient_norm');

export const evaluations = (events: readonly RunEvent[]): RunEvent[] =>
  events.filter((event) => event.event === 'evaluation' && typeof event.step === 'number');

/** What evaluations measured, as columns. */
export function measures(events: readonly RunEvent[]): string[] {
  const names = new Set<string>();
  for (const event of evaluations(events)) {
    for (const [name, value] of Object.entries(event)) {
      if (typeof value === 'number' && !['step', 'time', 'elapsed'].includes(name)) names.add(name);
    }
  }
  return [...names].sort((a, b) => Number(b === 'loss') - Number(a === 'loss'));
}

/** The names of runs in an address and back; a name may be anything a folder may be called. */
export const joined = (names: readonly string[]): string => names.map(encodeURIComponent).join(',');
export const parted = (text: string): string[] =>
  text.split(',').flatMap((name) => {
    try {
      return name ? [decodeURIComponent(name)] : [];
    } catch {
      return [];
    }
  });

/** The first point from which on the right continuation stays ahead; null where it is not. */
export function overtook(told: readonly { step: number; right: number; wrong: number }[]): number | null {
  let since: number | null = null;
  for (const { step, right, wrong } of told) {
    if (right > wrong) since ??= step;
    else since = null;
  }
  return since;
}
