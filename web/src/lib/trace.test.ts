import { describe, expect, test } from 'vitest';

import { chance, textTrace, toHalf, writeTrace, type Made } from '../../dev/synthetic';
import { fromHalves, readTrace, TraceError } from './trace';

const arrays: Record<string, Made> = {
  ids: { dtype: 'I32', shape: [3], values: [7, -1, 2 ** 31 - 1] },
  words: { dtype: 'U8', shape: [2, 2, 2], values: [0, 51, 102, 153, 204, 255, 1, 2] },
  lengths: { dtype: 'F16', shape: [2, 2], values: [0.5, -2, 65504, 2 ** -24] },
  logprobs: { dtype: 'F32', shape: [2], values: [-0.25, -3] },
  on: { dtype: 'BOOL', shape: [3], values: [1, 0, 1] },
};
const file = (changed: { version?: string; format?: string } = {}, kind = 'text'): Uint8Array<ArrayBuffer> =>
  writeTrace(kind, { model: { name: 'é 猫' } }, arrays, { words: 0.5 }, changed);
const said = (content: Uint8Array): string => {
  try {
    readTrace(content, 'a.trace');
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
    return (error as Error).message;
  }
  throw new Error('it was opened');
};

describe('a trace file', () => {
  test('has what was written, whatever the kind of number', () => {
    const trace = readTrace<{ model: { name: string } }>(file());
    expect(trace.kind).toBe('text');
    expect(trace.about.model.name).toBe('é 猫');
    expect([...trace.values('ids')]).toEqual([7, -1, 2 ** 31 - 1]);
    expect([...trace.values('lengths')]).toEqual([0.5, -2, 65504, 2 ** -24]);
    expect([...trace.values('logprobs')]).toEqual([-0.25, -3]);
    expect([...trace.values('on')]).toEqual([1, 0, 1]);
    expect(trace.names.toSorted()).toEqual(['ids', 'lengths', 'logprobs', 'on', 'words']);
  });

  test('gives shares as numbers, and as bytes where they are drawn', () => {
    const trace = readTrace(file());
    expect([...trace.row('words', 1, 0)].map((share) => Number(share.toFixed(6)))).toEqual([0.4, 0.5]);
    expect([...trace.rowKept('words', 1).data]).toEqual([204, 255, 1, 2]);
    expect(trace.rowKept('words', 1).shape).toEqual([2, 2]);
    expect(trace.at('words', 0, 1, 1)).toBeCloseTo(0.3, 12);
    expect(trace.at('lengths', 1, 0)).toBe(65504);
  });

  test('is not copied', () => {
    const bytes = file();
    const trace = readTrace(bytes);
    for (const name of trace.names) expect(trace.kept(name).data.buffer).toBe(bytes.buffer);
    expect(trace.rowKept('words', 1).data.buffer).toBe(bytes.buffer);
  });

  test('opens from the middle of a larger buffer', () => {
    const bytes = file();
    const larger = new Uint8Array(bytes.length + 3);
    larger.set(bytes, 3); // where no int32 may begin
    const trace = readTrace(larger.subarray(3));
    expect([...trace.values('ids')]).toEqual([7, -1, 2 ** 31 - 1]);
  });

  test('names what is not in it, and an index outside', () => {
    const trace = readTrace(file());
    expect(trace.has('rollout')).toBe(false);
    expect(() => trace.values('rollout')).toThrow(
      'The trace has no rollout: it was not asked for when the trace was made.',
    );
    expect(() => trace.row('words', 2)).toThrow('The index 2 is outside axis 0 of words, which has 2.');
  });

  test('of another version says which', () => {
    expect(said(file({ version: '2' }))).toBe(
      'a.trace is a trace of version 2, but this page reads version 1. Make it anew, or open it with the limner that wrote it.',
    );
  });

  test('that is none says so', () => {
    for (const content of [
      file({ format: 'pt' }),
      new Uint8Array(),
      new Uint8Array([1, 2, 3]),
      new TextEncoder().encode('<!doctype html> not a trace'),
    ]) {
      expect(said(content)).toMatch(/^a\.trace is no trace: its header is cut off or of another format/);
    }
  });

  test('cut off anywhere is refused with a sentence', () => {
    const bytes = file();
    for (let length = 0; length < bytes.length; length += 7) {
      expect(said(bytes.subarray(0, length))).toMatch(/^a\.trace is (no trace|damaged)/);
    }
  });

  test('with a header that lies is damaged', () => {
    const text = String.fromCharCode(...file());
    const lie = (from: string, to: string): Uint8Array => {
      expect(text).toContain(from);
      return Uint8Array.from(text.replace(from, to.padEnd(from.length)), (character) => character.charCodeAt(0));
    };
    expect(said(lie('"shape":[3]', '"shape":[4]'))).toContain('damaged');
    expect(said(lie('"dtype":"F16"', '"dtype":"F64"'))).toContain('damaged');
    expect(said(lie('\\"words\\":0.5', '\\"other\\":0.5'))).toContain('damaged');
  });

  test('of random bytes never does anything else', () => {
    const random = chance(3);
    const bytes = file();
    for (let round = 0; round < 400; round++) {
      const spoilt = bytes.slice();
      for (let change = 0; change < 3; change++) spoilt[Math.floor(random() * 600)] = Math.floor(random() * 256);
      try {
        const trace = readTrace(spoilt, 'a.trace');
        for (const name of trace.names) trace.values(name);
      } catch (error) {
        expect(error).toBeInstanceOf(TraceError);
      }
    }
  });
});

test('every half is the number that it stands for', () => {
  expect([...fromHalves(Uint16Array.of(0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0xfc00))]).toEqual([
    0,
    1,
    -2,
    65504,
    2 ** -24,
    Infinity,
    -Infinity,
  ]);
  expect(fromHalves(Uint16Array.of(0x7e00))[0]).toBeNaN();
  const all = Uint16Array.from({ length: 0x7c00 }, (_, bits) => bits);
  expect([...fromHalves(all)].map(toHalf)).toEqual([...all]);
});

test('the synthetic trace is one that everything else can be tried on', () => {
  const trace = textTrace({ tokens: 20, layers: 2, heads: 3 });
  expect(trace.shape('attention.1')).toEqual([3, 20, 20]);
  expect(trace.about.tokens).toHaveLength(20);
});
