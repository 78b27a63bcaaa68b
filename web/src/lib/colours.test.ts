import { describe, expect, test } from 'vitest';

import {
  bothColour,
  contrast,
  diverging,
  inkOn,
  luminance,
  oklab,
  rgb,
  sequential,
  SERIES,
  SERIES_DARK,
  tint,
  tintBoth,
  type Rgb,
} from './colours';

const unpack = (packed: number): Rgb => [packed & 255, (packed >> 8) & 255, (packed >> 16) & 255];
const parse = (css: string): Rgb => css.match(/\d+/g)!.map(Number) as unknown as Rgb;
const INK = { light: rgb('#161a20'), dark: rgb('#e9ebef') };

// How a colour looks without one of the three cones. Source: Machado, Oliveira & Fernandes 2009, severity 1.
const BLIND: Record<string, number[][]> = {
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
const linear = (byte: number): number => (byte <= 10 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
const back = (value: number): number =>
  255 * Math.max(0, Math.min(1, value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055));
const seen = (colour: Rgb, matrix: number[][]): Rgb => {
  const light = colour.map(linear);
  return matrix.map((row) => back(row.reduce((sum, weight, axis) => sum + weight * light[axis], 0))) as unknown as Rgb;
};
const apart = (one: Rgb, other: Rgb): number => {
  const [a, b] = [oklab(one), oklab(other)];
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
};

describe.each([false, true])('colours with a dark ground: %s', (dark) => {
  test('lightness of none to much runs one way only', () => {
    const light = [...sequential(dark)].map((packed) => oklab(unpack(packed))[0] * (dark ? 1 : -1));
    for (let step = 1; step < light.length; step++) expect(light[step]).toBeGreaterThanOrEqual(light[step - 1] - 0.002);
    expect(light[255] - light[0]).toBeGreaterThan(0.6);
  });

  test('both ways from nothing, lightness runs one way too', () => {
    const light = [...diverging(dark)].map((packed) => oklab(unpack(packed))[0] * (dark ? 1 : -1));
    for (let step = 1; step <= 127; step++) {
      expect(light[127 - step]).toBeGreaterThanOrEqual(light[128 - step] - 0.004);
      expect(light[128 + step]).toBeGreaterThanOrEqual(light[127 + step] - 0.004);
    }
  });

  test.each(Object.keys(BLIND))('less and more are told apart with %s', (kind) => {
    for (const share of [0.3, 0.6, 1]) {
      const [less, more] = [bothColour(-share, dark), bothColour(share, dark)].map((colour) =>
        seen(parse(colour), BLIND[kind]),
      );
      expect(apart(less, more)).toBeGreaterThan(0.07);
    }
  });

  test('text can be read on every tint', () => {
    const ink = dark ? INK.dark : INK.light;
    for (let share = -1; share <= 1; share += 0.02) {
      expect(contrast(ink, parse(tintBoth(share, dark)))).toBeGreaterThanOrEqual(4.5);
      expect(contrast(ink, parse(tint(Math.abs(share), dark)))).toBeGreaterThanOrEqual(4.5);
    }
  });

  test('text can be read on every share', () => {
    for (const packed of sequential(dark))
      expect(contrast(rgb(inkOn(packed)), unpack(packed))).toBeGreaterThanOrEqual(4.5);
  });

  test('lines stand out from their ground', () => {
    const ground = rgb(dark ? '#171b21' : '#ffffff');
    for (const colour of (dark ? SERIES_DARK : SERIES).slice(0, 5))
      expect(contrast(rgb(colour), ground)).toBeGreaterThanOrEqual(3);
  });

  test('what is no number has a colour all the same', () => {
    expect(tint(NaN, dark)).toBe(tint(0, dark));
  });
});

test('black and white are as light as they can be', () => {
  expect(luminance([0, 0, 0])).toBe(0);
  expect(luminance([255, 255, 255])).toBeCloseTo(1, 6);
  expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 4);
});
