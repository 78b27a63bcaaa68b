/** What a trace says of itself, as limner writes it (docs/traces.md), and what a figure says of what it shows. */

import type { Trace } from './trace';

export interface TextModel {
  name: string;
  sha256: string;
  family: 'decoder' | 'encoder';
  parameters: number;
  layers: number;
  heads: number;
  kv_heads: number;
  dim: number;
  vocab_size: number;
  context_length: number;
  positions: string;
  dtype: string;
  device: string;
  checkpoint: number | null;
}

export interface TraceToken {
  id: number;
  text: string;
  special: boolean;
  written: boolean;
}

/** What was changed in a reading; see `limner.explain.changes`. */
export type Change =
  | { kind: 'head_off'; layer: number; head: number; where?: 'attention' | 'cross_attention' }
  | { kind: 'attention_off'; layer: number; where?: 'attention' | 'cross_attention' }
  | { kind: 'feed_forward_off'; layer: number }
  | { kind: 'neuron_off'; layer: number; neuron: number }
  | { kind: 'patch'; name: string; source: string; place: number; from: number }
  | { kind: 'steer'; layer: number; towards: string; away: string; strength: number }
  | { kind: 'positions_off' }
  | { kind: 'weigh_word'; word: number; weight: number }
  | { kind: 'remove_word'; word: number }
  | { kind: 'replace_word'; word: number; by: string };

export interface TextAbout {
  model: TextModel;
  run: null | { prompt: string; seed: number; settings: Record<string, unknown>; finish: string; text: string };
  tokens: TraceToken[];
  replay: null | { largest_difference: number; agreement: number; tokens: number };
  changes: Change[];
  temperatures: number[];
  /** Texts of the ids that candidates and lens name, by id. */
  texts?: Record<string, string>;
}

/** One look of the sampler: when it was, how much of the picture (α) and how much noise (σ) there was. */
export interface Moment {
  number: number;
  time: number;
  alpha: number;
  sigma: number;
}

export interface PictureAbout {
  model: {
    name: string;
    sha256: string;
    parameters: number;
    layers: number;
    heads: number;
    dim: number;
    size: [number, number];
    latent: boolean;
    multiple: number;
    predict: string;
    process: string;
    dtype: string;
    device: string;
    checkpoint?: number | null;
  };
  settings: Record<string, unknown> & { prompt?: string; seed?: number; steps?: number; guidance?: number };
  words: { text: string; places: number[] }[];
  tokens: { id: number; text: string }[];
  notes: string[];
  looks: Moment[];
  /** All looks of the run; `looks` may be some of them. */
  schedule?: Moment[];
  grid: [number, number];
  /** null: nothing was looked at again, the trace was recorded while the picture was painted. */
  replay: null | { largest_difference: number; mean_difference: number; looks: number };
  changes: Change[];
  shown?: number[];
  detailed?: number[];
}

export type TextTrace = Trace<TextAbout>;
export type PictureTrace = Trace<PictureAbout>;

/** What a figure's foot says: whose numbers these are, and how near they are to the run's. */
export interface Shown {
  model: string;
  sha256?: string;
  checkpoint?: number | null;
  /** `recorded`: the numbers are the run's own; `read`: there was no run, or nothing holds them to it. */
  replay?: { largest_difference: number; agreement?: number } | 'recorded' | 'read';
  changes?: readonly Change[];
}

export function shownOf(trace: Trace<TextAbout> | Trace<PictureAbout>): Shown {
  const { model, changes } = trace.about;
  const replay = trace.about.replay ?? (trace.kind === 'picture' ? 'recorded' : 'read');
  return { model: model.name, sha256: model.sha256, checkpoint: model.checkpoint ?? null, replay, changes };
}

/** A change in a few words. */
export function sayChange(change: Change): string {
  switch (change.kind) {
    case 'head_off':
      return `head ${change.layer}.${change.head} off`;
    case 'attention_off':
      return `attention ${change.layer} off`;
    case 'feed_forward_off':
      return `feed-forward ${change.layer} off`;
    case 'neuron_off':
      return `neuron ${change.layer}.${change.neuron} off`;
    case 'patch':
      return `${change.name} at ${change.place} from “${change.source}” at ${change.from}`;
    case 'steer':
      return `steered by ${change.strength} towards “${change.towards}”, away from “${change.away}”, after layer ${change.layer}`;
    case 'positions_off':
      return 'positions off';
    case 'weigh_word':
      return `word ${change.word + 1} × ${change.weight}`;
    case 'remove_word':
      return `word ${change.word + 1} removed`;
    case 'replace_word':
      return `word ${change.word + 1} replaced by “${change.by}”`;
  }
}

/** What an id among the tokens and candidates stands for. */
export function textOf(trace: TextTrace, id: number): string {
  const named = trace.about.texts;
  if (named && Object.hasOwn(named, String(id))) return named[String(id)];
  return trace.about.tokens.find((token) => token.id === id)?.text ?? `⟨${id}⟩`;
}
