/**
 * One text and its branches. The first is written or read as asked; each other one puts another token into one that is there
 * and is written on from it. All of it is known by what was asked, so an address brings the same tree back.
 */

import type { TextAbout, TextTrace, TraceToken } from '../../lib/about';
import { api, type Started, type Streamed, type Waiting, type Written, type WrittenToken } from '../../lib/api';
import type { Trace } from '../../lib/trace';

export interface Settings {
  max_tokens: number;
  temperature: number;
  top_p: number;
  top_k: number;
}
export interface Asked {
  model: string;
  prompt: string;
  seed: number;
  settings: Settings;
  /** `read`: nothing is written. */
  what: 'write' | 'read';
}
/** Where a text leaves another: the number of that other, the place of the token that differs, and what is put there. */
export interface Leaves {
  from: number;
  place: number;
  id: number;
}
export type Events = Waiting & { start: Started; token: WrittenToken; done: Written };

/** Branches as they stand in an address: `0.12.345_1.20.7`. */
export function readBranches(text: string): Leaves[] {
  const found: Leaves[] = [];
  for (const part of text.split('_')) {
    const numbers = /^(\d+)\.(\d+)\.(\d+)$/.exec(part);
    if (!numbers) continue;
    const [from, place, id] = numbers.slice(1).map(Number);
    if (from <= found.length) found.push({ from, place, id }); // only one that is there can be left
  }
  return found;
}
export const writeBranches = (leaves: readonly Leaves[]): string =>
  leaves.map(({ from, place, id }) => `${from}.${place}.${id}`).join('_');

export class Text {
  state = $state<'new' | 'writing' | 'reading' | 'ready' | 'failed'>('new');
  tokens = $state<TraceToken[]>([]);
  /** Natural logarithms, of written tokens. */
  logprobs = $state<number[]>([]);
  trace = $state.raw<TextTrace | null>(null);
  failed = $state('');
  /** Whether it was stopped before its end. */
  stopped = $state(false);
  /** How many others the server serves before. */
  waiting = $state(0);
  /** Under which the server knows it. */
  id: string | null = null;
  first = 0; // the place of the first token that was written
  leaving: AbortController | null = null;

  constructor(
    readonly asked: Asked,
    readonly leaves: Leaves | null,
  ) {}

  get busy(): boolean {
    return this.state === 'writing' || this.state === 'reading';
  }

  /** End it where it is; what was written stays, and is looked into. */
  stop(): void {
    if (this.state === 'reading' && this.logprobs.length > 0) return; // it had come to its end already
    this.stopped = this.state === 'writing';
    this.leaving?.abort();
  }

  /** Give up whatever is going on: nobody looks any more. */
  leave(): void {
    this.leaving?.abort();
  }

  /** Read a text as it is. */
  async read(): Promise<void> {
    await this.#guard(async (signal) => {
      this.state = 'reading';
      this.#have(await api.traceText<TextAbout>({ model: this.asked.model, text: this.asked.prompt }, signal));
    });
  }

  /** A trace that came as a file or by its name. */
  have(trace: TextTrace, id: string | null): void {
    this.id = id;
    this.#have(trace);
  }

  /** Take in what comes while it is written, then look inside. */
  async write(stream: (signal: AbortSignal) => AsyncGenerator<Streamed<Events>>): Promise<void> {
    await this.#guard(async (signal) => {
      this.state = 'writing';
      [this.tokens, this.logprobs, this.stopped] = [[], [], false];
      try {
        for await (const { event, data } of stream(signal)) {
          if (event === 'start') {
            this.tokens = (data as Started).tokens.map((token) => ({ ...token, written: false }));
            this.first = this.tokens.length;
          } else if (event === 'token') {
            const { id, text, logprob } = data as WrittenToken;
            this.tokens.push({ id, text, special: false, written: true });
            this.logprobs.push(logprob);
            this.waiting = 0;
          } else if (event === 'waiting') this.waiting = (data as Waiting['waiting']).ahead;
          else if (event === 'done') this.id = (data as Written).trace;
        }
      } catch (problem) {
        if (!this.stopped || this.tokens.length === 0) throw problem;
      }
    });
    if (this.state === 'failed' || (this.leaving?.signal.aborted && !this.stopped)) return;
    await this.#guard(async (signal) => {
      this.state = 'reading';
      const trace = this.id
        ? await api.trace<TextAbout>(this.id, signal)
        : await api.traceText<TextAbout>(
            { model: this.asked.model, ids: this.tokens.map((token) => token.id) },
            signal,
          );
      // Read from its ids alone, it does not know which of its tokens were written.
      if (!this.id) trace.about.tokens.forEach((token, place) => (token.written = place >= this.first));
      this.#have(trace);
    });
  }

  #have(trace: Trace<TextAbout>): void {
    if (trace.kind !== 'text') throw new Error('This trace is of a picture. Open it on the page of picture runs.');
    this.trace = trace;
    this.tokens = trace.about.tokens;
    const written = trace.about.tokens.findIndex((token) => token.written);
    this.first = written < 0 ? trace.about.tokens.length : written;
    this.state = 'ready';
  }

  async #guard(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const leaving = (this.leaving = new AbortController());
    try {
      await work(leaving.signal);
    } catch (problem) {
      if (leaving.signal.aborted) {
        if (this.state !== 'ready') this.state = 'new';
        return;
      }
      this.state = 'failed';
      this.failed = problem instanceof Error ? problem.message : String(problem);
    }
  }
}

export class Tree {
  texts = $state.raw<Text[]>([]);

  constructor(
    public asked: Asked,
    leaves: readonly Leaves[] = [],
  ) {
    this.grow(leaves);
  }

  /** Bring the tree to these branches; those that are there stay. */
  grow(leaves: readonly Leaves[]): void {
    const wanted: (Leaves | null)[] = [null, ...leaves];
    const same = (a: Leaves | null | undefined, b: Leaves | null): boolean =>
      a === b || (!!a && !!b && a.from === b.from && a.place === b.place && a.id === b.id);
    const next = wanted.map((leave, index) =>
      this.texts[index] && same(this.texts[index].leaves, leave) ? this.texts[index] : new Text(this.asked, leave),
    );
    if (next.length !== this.texts.length || next.some((text, index) => text !== this.texts[index])) this.texts = next;
  }

  /** Have a text of the tree, and before it those that it leaves. */
  async have(index: number): Promise<void> {
    const text = this.texts[index];
    if (!text || text.state === 'ready' || text.busy) return;
    const { model, prompt, seed, settings, what } = this.asked;
    if (text.leaves === null) {
      if (what === 'read') return text.read();
      return text.write((signal) => api.write({ model, prompt, seed, settings: { ...settings } }, signal));
    }
    const { from, place, id } = text.leaves;
    await this.have(from);
    const before = this.texts[from];
    if (before.state !== 'ready' || !before.trace) {
      if (before.state === 'failed') {
        text.state = 'failed';
        text.failed = before.failed;
      }
      return;
    }
    const tokens = before.trace.about.tokens;
    if (before.id === null && what === 'write' && place >= before.first) {
      // It was stopped, so the server does not know it: it is written again up to there, which gives the same.
      for await (const event of api.write(
        { model, prompt, seed, settings: { ...settings, max_tokens: tokens.length - before.first } },
        text.leaving?.signal,
      )) {
        if (event.event === 'done') before.id = (event.data as Written).trace;
      }
    }
    const written = place - before.first;
    if (before.id !== null && written >= 0 && place < tokens.length) {
      const known = before.id;
      return text.write((signal) =>
        api.branch(
          { trace: known, place: written, id, max_tokens: Math.max(settings.max_tokens, written + 1) },
          signal,
        ),
      );
    }
    // In the prompt, or after the end: what stands before is read as it is.
    const ids = [...tokens.slice(0, place).map((token) => token.id), id];
    return text.write((signal) => api.write({ model, ids, seed, settings: { ...settings } }, signal));
  }

  stop(): void {
    for (const text of this.texts) if (text.busy) text.stop();
  }

  leave(): void {
    for (const text of this.texts) text.leave();
  }
}
