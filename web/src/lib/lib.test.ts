import { describe, expect, test } from 'vitest';

import { chance, syntheticAttention } from '../../dev/synthetic';
import { columnOf, habit, pool, rowOf, sayHabit } from './attention';
import { paint, picture, ROOT } from './canvas';
import { decimate, smooth } from './chart';
import { difference } from './difference';
import { longest, replay } from './merges';
import { inRows } from './printing.svelte';
import { number, percent, short, signed, size, whole } from './say';
import { fit, labelled, screenX, screenY, splat } from './scatter';
import { thumbnails } from './thumbnails';

describe('attention', () => {
  test('made small keeps the largest share of what a pixel covers', () => {
    for (const [from, to, causal] of [
      [64, 16, true],
      [50, 7, true],
      [33, 32, true],
      [40, 13, false],
    ] as const) {
      const bytes = syntheticAttention(from, 0, 0, chance(from));
      if (!causal) bytes.fill(9);
      const small = pool(bytes, from, to, causal);
      for (let row = 0; row < to; row++) {
        for (let column = 0; column < to; column++) {
          let most = 0;
          for (let q = Math.floor((row * from) / to); q < Math.floor(((row + 1) * from) / to); q++)
            for (let k = Math.floor((column * from) / to); k < Math.floor(((column + 1) * from) / to); k++)
              most = Math.max(most, bytes[q * from + k]);
          expect(small[row * to + column]).toBe(most);
        }
      }
    }
  });

  test('of one token is a row, at one token a column', () => {
    const head = { bytes: Uint8Array.of(255, 0, 51, 204), size: 2, scale: 1 };
    expect([...rowOf(head, 1)].map((share) => share.toFixed(2))).toEqual(['0.20', '0.80']);
    expect([...columnOf(head, 0)].map((share) => share.toFixed(2))).toEqual(['1.00', '0.20']);
  });

  test('has its habits told', () => {
    const size = 20;
    const before = new Uint8Array(size * size);
    for (let query = 0; query < size; query++) before[query * size + Math.max(0, query - 1)] = 255;
    expect(sayHabit(habit({ bytes: before, size, scale: 1 }))).toBe('mostly at the token before (100%)');
    expect(sayHabit(habit({ bytes: new Uint8Array(size * size).fill(13), size, scale: 1 }))).toBe('no single habit');
  });

  test('of all heads is made small a little at a time, and each once', () => {
    let asked = 0;
    const head = { bytes: syntheticAttention(32, 0, 0, chance(1)), size: 32, scale: 1 };
    const made = thumbnails(() => (asked++, head), 2, 3, 8, true);
    let now = 0;
    const clock = (): number => now++; // each look at the clock is a millisecond
    const first = made.work(2, clock);
    expect(first.done).toBe(false);
    expect(made.of(1, 2)).toBeNull();
    const seen = [...first.made];
    for (let round = 0; round < 10; round++) seen.push(...made.work(2, clock).made);
    expect(made.work(2, clock).done).toBe(true);
    expect(seen).toEqual([
      [0, 0],
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 2],
    ]);
    expect(asked).toBe(6);
    expect([...made.of(1, 2)!]).toEqual([...pool(head.bytes, 32, 8, true)].map((byte) => ROOT[byte]));
  });
});

describe('canvases', () => {
  test('bytes become colours, red first', () => {
    expect([...picture(Uint8Array.of(1, 2, 3, 4, 5, 6), 2, 1).data]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
    const palette = new Uint32Array(256).fill(0xff030201);
    expect([...paint(Uint8Array.of(7), 1, 1, palette).data]).toEqual([1, 2, 3, 255]);
  });
});

describe('charts', () => {
  test('many points lose no spike', () => {
    const points = Array.from({ length: 10000 }, (_, step) => ({
      step,
      value: step === 7777 ? 99 : Math.sin(step / 50),
    }));
    const few = decimate(points, 200);
    expect(few.length).toBeLessThanOrEqual(400);
    expect(few.some((point) => point.value === 99)).toBe(true);
    expect(few.every((point, index) => index === 0 || point.step > few[index - 1].step)).toBe(true);
  });

  test('few points are all kept, but what is no number is not', () => {
    const points = [
      { step: 0, value: 1 },
      { step: 1, value: NaN },
      { step: 2, value: 3 },
    ];
    expect(decimate(points, 100)).toEqual([points[0], points[2]]);
  });

  test('a smoothed line of equal values is that line from the start', () => {
    for (const { value } of smooth(
      Array.from({ length: 50 }, (_, step) => ({ step, value: 4 })),
      0.98,
    ))
      expect(value).toBeCloseTo(4, 9);
  });
});

describe('two texts', () => {
  test('are parted into what they share and what not', () => {
    const { before, after } = difference('The cat sat down.', 'The cat ran down.');
    expect(before).toEqual([
      { text: 'The cat', same: true },
      { text: ' sat', same: false },
      { text: ' down.', same: true },
    ]);
    expect(after[1]).toEqual({ text: ' ran', same: false });
  });

  test('are whole again when put together', () => {
    const texts = ['', ' a  b\n', '猫爬上了树。', 'x '.repeat(2000), 'one two three'];
    for (const one of texts)
      for (const other of texts) {
        const { before, after } = difference(one, other);
        expect(before.map((part) => part.text).join('')).toBe(one);
        expect(after.map((part) => part.text).join('')).toBe(other);
      }
  });
});

describe('merges', () => {
  const word = {
    start: 0,
    end: 3,
    pieces: ['c', 'a', 't', 's'],
    steps: [
      { rank: 5, at: 1, piece: 'at' },
      { rank: 9, at: 0, piece: 'cat' },
    ],
  };
  test('are made one after the other', () => {
    expect(replay(word, 0)).toEqual({ pieces: ['c', 'a', 't', 's'], fresh: null });
    expect(replay(word, 1)).toEqual({ pieces: ['c', 'at', 's'], fresh: 1 });
    expect(replay(word, 2)).toEqual({ pieces: ['cat', 's'], fresh: 0 });
    expect(replay(word, 9)).toEqual({ pieces: ['cat', 's'], fresh: null });
    expect(longest([word])).toBe(2);
  });
});

describe('the map', () => {
  const points = Float32Array.of(-1, -1, 3, 1, 0, 0);
  test('shows all points at first, up is up', () => {
    const view = fit(points, 400, 300);
    for (let index = 0; index < 3; index++) {
      expect(screenX(view, points[2 * index])).toBeGreaterThanOrEqual(23.9);
      expect(screenX(view, points[2 * index])).toBeLessThanOrEqual(376.1);
    }
    expect(screenY(view, 1)).toBeLessThan(screenY(view, -1));
  });

  test('of one point or none is one all the same', () => {
    expect(Number.isFinite(fit(Float32Array.of(2, 2), 100, 100).k)).toBe(true);
    expect(fit(new Float32Array(), 100, 100)).toEqual({ x: 50, y: 50, k: 1 });
  });

  test('draws each point where it is', () => {
    const image = new ImageData(400, 300);
    const view = fit(points, 400, 300);
    splat(points, null, Uint32Array.of(0xff0000ff), view, image, 1, 1);
    const at = (index: number): number =>
      (Math.round(screenY(view, points[2 * index + 1])) * 400 + Math.round(screenX(view, points[2 * index]))) * 4;
    for (let index = 0; index < 3; index++) expect(image.data[at(index)]).toBe(255);
    expect([...image.data].filter((_, byte) => byte % 4 === 3 && image.data[byte] > 0)).toHaveLength(15);
  });

  test('names no two words over each other', () => {
    const random = chance(2);
    const many = Float32Array.from({ length: 4000 }, () => random() * 10);
    const view = fit(many, 800, 500);
    const named = labelled(many, view, 800, 500, 50, () => 60);
    expect(named.length).toBeGreaterThan(20);
    for (const one of named)
      for (const other of named) {
        if (one >= other) continue;
        const [dx, dy] = [
          screenX(view, many[2 * one]) - screenX(view, many[2 * other]),
          screenY(view, many[2 * one + 1]) - screenY(view, many[2 * other + 1]),
        ];
        expect(Math.abs(dx) >= 74 || Math.abs(dy) >= 17).toBe(true);
      }
  });
});

describe('numbers', () => {
  test.each([
    [percent(0.4234), '42.3%'],
    [percent(0.00012), '0.012%'],
    [percent(1), '100%'],
    [percent(0), '0%'],
    [percent(NaN), '–'],
    [number(1234567), '1.23 × 10⁶'],
    [number(-0.5), '−0.5'],
    [number(0.0000312, 2), '3.1 × 10⁻⁵'],
    [number(Infinity), '∞'],
    [signed(0.25), '+0.25'],
    [whole(1234567), '1,234,567'],
    [short(1234567), '1.23M'],
    [size(5_300_000), '5.3 MB'],
    [size(999), '999 B'],
  ])('%s is written %s', (shown, wanted) => expect(shown).toBe(wanted));
});

describe('on paper', () => {
  test.each<[number[], [number, number][]]>([
    [[], []],
    [
      [30, 30, 30],
      [
        [0, 2],
        [2, 3],
      ],
    ],
    [
      [200, 10],
      [
        [0, 1],
        [1, 2],
      ],
    ],
  ])('columns of %j go on below each other', (widths, rows) => expect(inRows(widths, 40, 100)).toEqual(rows));
});
