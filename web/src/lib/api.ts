/** The studio's server, typed. Every call can be given up with an AbortSignal; what goes wrong arrives as a sentence. */

import type { Change, PictureAbout, PictureTrace } from './about';
import type { Among, Analogy, Drift, Neighbours, Order, Positions } from './meaning';
import { rememberRuns } from './python';
import { readTrace, type Trace } from './trace';

/** What the server, or the way to it, answered instead of a result. */
export class ApiError extends Error {
  override name = 'ApiError';
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export interface Model {
  name: string;
  path: string;
  kind: string;
  parameters: number;
  bytes: number;
  context: number;
  pixels: [number, number] | null;
  licence: string;
  trained_on: string;
  problem: string | null;
}
export interface Run {
  /** What the run is asked for by. */
  n: string;
  name: string;
  path: string;
  kind: string;
  /** A model's name if there is one to open. */
  model: string | null;
  state: string;
  finished: boolean;
  step: number;
  steps: number | null;
  minutes: number | null;
  /** The last loss on held-back data, and the best. */
  loss: number | null;
  best: number | null;
  checkpoints: number[];
  /** Seconds since 1970. */
  changed: number;
}
export interface Example {
  id: string;
  title: string;
  kind: 'text' | 'picture';
  bytes?: number;
}
/** A trace that was made or brought in since the studio was started. */
export interface Kept {
  id: string;
  kind: 'text' | 'picture';
  title: string;
  model: string;
  /** null: it was read, not written. */
  seed: number | null;
}
export interface About {
  version: string;
  machine: {
    system: string;
    processor: string;
    cores: number;
    memory: number;
    python: string;
    torch: string;
    device: string;
  };
  limits?: { characters: number; trace_bytes: number };
  runs?: string;
}
export interface TokenizedToken {
  id: number;
  text: string;
  /** As the vocabulary has it. */
  piece?: string;
  special?: boolean;
  bytes: number[];
  start: number;
  end: number;
}
export interface Tokenized {
  model: string;
  kind: string;
  vocab_size: number;
  context_length: number;
  tokens: TokenizedToken[];
  /** What stands before every text, such as a token that begins it. */
  opening?: string[];
  /** Word by word, which pieces were joined: see lib/merges.ts. Empty where the tokenizer does not merge. */
  merges: MergedWord[];
  /** The text was too long to replay. */
  merges_left_out?: boolean;
}
export interface MergedWord {
  /** Characters of the text. */
  start: number;
  end: number;
  /** What it begins with. */
  pieces: string[];
  /** In order: the pieces at `at` and after it become `piece`; the lower the rank, the earlier it was learned. */
  steps: { rank: number; at: number; piece: string }[];
}
export interface Candidate {
  id: number;
  text: string;
  logprob: number;
}
export interface WrittenToken {
  id: number;
  text: string;
  /** What may be shown by now: empty while a character is incomplete. */
  shown?: string;
  logprob: number;
  candidates: Candidate[];
}
/** What is said of a text before its first new token. */
export interface Started {
  model: string;
  seed: number;
  tokens: { id: number; text: string; special: boolean }[];
}
/** What is said of a text that was written: `trace` is fetched with `api.trace`, `generation` goes on as it is. */
export interface Written {
  generation: { ids: number[]; prompt_ids: number[]; seed: number; finish: string; text: string };
  trace: string;
}
export type WhyMethod = 'gradient_x_input' | 'integrated_gradients' | 'leave_one_out';
export interface Why {
  /** Of each token up to the place asked about. */
  scores: number[];
  sum: number;
  /** What integrated gradients should add up to; null for the other methods. */
  difference: number | null;
  target: number;
  text: string;
}
/** The change in a token's probability when a part is off; null: the layer has fewer heads. */
export interface Causal {
  place: number;
  target: number;
  text: string;
  probability: number;
  change: (number | null)[][];
  attention: (number | null)[];
  feed_forward: (number | null)[];
}
export interface Comparison {
  before: { candidates: (Candidate & { probability: number })[] };
  after: { candidates: (Candidate & { probability: number })[] };
  /** Bits. */
  divergence: number;
  continuation: { before: string; after: string };
}
export interface Look {
  number: number;
  of: number;
  seen: string;
}
export type Given = { text: string } | { ids: number[] };

async function failure(response: Response): Promise<ApiError> {
  let sentence = '';
  try {
    const said = (await response.json()) as { error?: unknown };
    if (typeof said.error === 'string') sentence = said.error;
  } catch {
    // no JSON: a proxy's page, or nothing
  }
  return new ApiError(
    sentence || `The studio answered ${response.status} ${response.statusText}.`.replace(' .', '.'),
    response.status,
  );
}

async function ask(path: string, body: unknown, signal: AbortSignal | undefined, accept: string): Promise<Response> {
  const raw = body instanceof Uint8Array;
  let response: Response;
  try {
    response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        accept,
        ...(body === undefined ? {} : { 'content-type': raw ? 'application/octet-stream' : 'application/json' }),
      },
      body: body === undefined ? undefined : raw ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body),
      signal,
      cache: 'no-store',
    });
  } catch (problem) {
    if (signal?.aborted) throw problem;
    throw new ApiError('The studio does not answer. Is `limner studio` still running?', 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function json<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, body, signal, 'application/json')).json()) as T;
}

async function trace<About>(
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  name = 'The trace',
): Promise<Trace<About>> {
  const response = await ask(path, body, signal, 'application/octet-stream');
  return readTrace<About>(await response.arrayBuffer(), name);
}

/** One of a stream's messages. */
export interface Message {
  event: string;
  data: string;
}

/** Server-sent events out of a stream of bytes, as they come. Source: the HTML standard, "Server-sent events". */
export async function* messages(stream: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let event = 'message';
  let data: string[] = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const lines = rest.split(/\r\n|\n|\r(?!$)/); // a lone CR at the end may be half of a CRLF
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event, data: data.join('\n') };
          event = 'message';
          data = [];
        } else if (!line.startsWith(':')) {
          const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
          if (field === 'event') event = value ?? '';
          else if (field === 'data') data.push(value ?? '');
        }
      }
      if (done) return;
    }
  } finally {
    void reader.cancel().catch(() => undefined); // whoever stops listening lets the server know
  }
}

/** Said while others are before us. */
export interface Waiting {
  waiting: { ahead: number };
}
/** What comes while the server works: each event by its name. `error` ends the stream by throwing. */
export type Streamed<Events> = { [Name in keyof Events]: { event: Name; data: Events[Name] } }[keyof Events];

async function* stream<Events>(path: string, body: unknown, signal?: AbortSignal): AsyncGenerator<Streamed<Events>> {
  const response = await ask(path, body, signal, 'text/event-stream');
  if (!response.body) return;
  for await (const { event, data } of messages(response.body)) {
    const value: unknown = JSON.parse(data);
    if (event === 'error') throw new ApiError((value as { error?: string }).error ?? String(value), 200);
    yield { event, data: value } as Streamed<Events>;
  }
}

const enc = encodeURIComponent;

export const api = {
  about: (signal?: AbortSignal) => json<About>('/api/about', undefined, signal),
  models: async (signal?: AbortSignal) => {
    const { models } = await json<{ models: Model[] }>('/api/models', undefined, signal);
    rememberRuns(models);
    return models;
  },
  runs: async (signal?: AbortSignal) => (await json<{ runs: Run[] }>('/api/runs', undefined, signal)).runs,
  examples: async (signal?: AbortSignal) =>
    (await json<{ examples: Example[] }>('/api/examples', undefined, signal)).examples,
  traces: async (signal?: AbortSignal) => (await json<{ traces: Kept[] }>('/api/traces', undefined, signal)).traces,
  trace: <About>(id: string, signal?: AbortSignal) =>
    trace<About>(`/api/traces/${enc(id)}`, undefined, signal, `The trace ${id}`),

  /** Bring a trace file; its id. */
  keep: async (bytes: Uint8Array, signal?: AbortSignal): Promise<string> => {
    const response = await ask('/api/traces', bytes, signal, 'application/json');
    return ((await response.json()) as { trace: string }).trace;
  },

  tokens: async (asked: { text: string; models: string[] }, signal?: AbortSignal) =>
    (await json<{ tokenizers: Tokenized[] }>('/api/tokens', asked, signal)).tokenizers,

  write: (
    asked: { model: string; prompt?: string; ids?: number[]; settings?: Record<string, unknown>; seed?: number },
    signal?: AbortSignal,
  ) => stream<Waiting & { start: Started; token: WrittenToken; done: Written }>('/api/write', asked, signal),

  /** Put another token at a place among those written, and write on with the same settings and the same chance. */
  branch: (asked: { trace: string; place: number; id: number; max_tokens?: number }, signal?: AbortSignal) =>
    stream<Waiting & { start: Started; token: WrittenToken; done: Written }>('/api/branch', asked, signal),

  traceText: <About>(
    asked: { model: string; generation?: Record<string, unknown>; changes?: Change[] } & Partial<{
      text: string;
      ids: number[];
    }>,
    signal?: AbortSignal,
  ) => trace<About>('/api/trace/text', asked, signal),

  paint: (
    asked: { model: string; prompt: string; seed?: number; settings?: Record<string, unknown>; changes?: Change[] },
    signal?: AbortSignal,
  ) => stream<Waiting & { look: Look; done: { trace: string } }>('/api/paint', asked, signal),

  /** Some looks of a picture once more, with how patches look at each other. */
  tracePicture: (asked: { trace: string; looks: number[]; layers?: number[] | null }, signal?: AbortSignal) =>
    trace<PictureAbout>('/api/trace/picture', asked, signal) as Promise<PictureTrace>,

  /** Each head off in turn, and the picture that is painted without it. */
  causalPicture: (asked: { trace: string; where: 'cross_attention' | 'attention' }, signal?: AbortSignal) =>
    stream<Waiting & { head: Record<string, unknown> & { done: number; of: number }; done: { heads: number } }>(
      '/api/causal/picture',
      asked,
      signal,
    ),

  distribution: (
    asked: { model: string; ids: number[]; place: number; temperature: number; top_k: number; top_p: number },
    signal?: AbortSignal,
  ) => json<{ candidates: Candidate[]; kept: number }>('/api/distribution', asked, signal),

  why: (
    asked: { model: string; ids: number[]; place: number; method: WhyMethod; target?: number },
    signal?: AbortSignal,
  ) => json<Why>('/api/why', asked, signal),

  causal: (asked: { model: string; ids: number[]; place?: number; target?: number }, signal?: AbortSignal) =>
    stream<Waiting & { progress: { done: number; of: number }; done: Causal }>('/api/causal', asked, signal),

  compare: (
    asked: { model: string; changes: Change[]; max_tokens?: number } & Partial<{ text: string; ids: number[] }>,
    signal?: AbortSignal,
  ) => json<Comparison>('/api/compare', asked, signal),

  neighbours: (asked: { model: string; word: string; count: number; among?: Among }, signal?: AbortSignal) =>
    json<Neighbours>('/api/neighbours', asked, signal),
  analogy: (
    asked: { model: string; a: string; b: string; c: string; count?: number; among?: Among },
    signal?: AbortSignal,
  ) => json<Analogy>('/api/analogy', asked, signal),
  map: async (
    asked: { model: string; count: number; layout?: 'principal' | 'neighbours' },
    signal?: AbortSignal,
  ): Promise<ArrayBuffer> => (await ask('/api/map', asked, signal, 'application/octet-stream')).arrayBuffer(),
  drift: (asked: { model: string; word: string; first: string; second: string }, signal?: AbortSignal) =>
    json<Drift>('/api/drift', asked, signal),
  positions: (model: string, count: number, signal?: AbortSignal) =>
    json<Positions>(`/api/positions?model=${enc(model)}&count=${count}`, undefined, signal),
  order: (asked: { model: string; texts: [string, string]; positions: boolean }, signal?: AbortSignal) =>
    json<Order>('/api/order', asked, signal),

  training: <Events>(run: string, signal?: AbortSignal) =>
    stream<Events>(`/api/training/${enc(run)}/events`, undefined, signal),
  step: <Answer>(asked: { model: string; text: string; rate?: number }, signal?: AbortSignal) =>
    json<Answer>('/api/step', asked, signal),
  probes: <Answer>(run: string, signal?: AbortSignal) => json<Answer>(`/api/probes/${enc(run)}`, undefined, signal),
  probe: (asked: { run: string; prompt: string; right: string; wrong: string }, signal?: AbortSignal) => {
    const { run, ...rest } = asked;
    return stream<
      Waiting & {
        point: { step: number; right: number; wrong: number };
        done: { name: string; points: { step: number; right: number; wrong: number }[] };
      }
    >(`/api/probes/${enc(run)}`, rest, signal);
  },
  samples: (run: string, signal?: AbortSignal) =>
    json<{ steps: number[]; prompts: string[] }>(`/api/samples/${enc(run)}`, undefined, signal),
  sample: (run: string, step: number, signal?: AbortSignal) =>
    json<{ step: number; picture: string }>(`/api/samples/${enc(run)}/${step}`, undefined, signal),
};
