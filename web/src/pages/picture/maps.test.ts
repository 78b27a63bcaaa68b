import { describe, expect, test } from 'vitest';

import { writeTrace } from '../../../dev/synthetic';
import type { PictureAbout } from '../../lib/about';
import { readTrace } from '../../lib/trace';
import { words } from './ask';
import { type PictureChange, readChanges, readPainted, say, toggled, withChange, writeChanges } from './changes';
import { pulls, sayPull } from './guidance';
import {
  byPatch,
  difference,
  inside,
  liftMaps,
  lifts,
  meanMap,
  nearestOwn,
  ownLayers,
  patchMaps,
  placeOf,
  sayPlace,
  sayWhere,
  shareMaps,
} from './maps';

describe('where a word went', () => {
  const rest = Float32Array.from([0.2, 0.2, 0.2, 0.2]); // much attention, no place
  const hat = Float32Array.from([0.04, 0, 0, 0]); // little attention, one place

  test('a word that is looked at everywhere has no place, however much attention it gets', () => {
    const lift = lifts([rest, hat]);
    expect(Array.from(lift[0])).toEqual([1, 1, 1, 1]);
    expect(placeOf(lift[0])).toEqual([false, false, false, false]);
    expect(placeOf(lift[1])).toEqual([true, false, false, false]);
    expect(sayWhere(lift[1], 2, 2)).toEqual({ strongest: 4, place: 'top left' });
  });
  test('maps are dark at the average and bright at the most', () => {
    const { bytes, full } = liftMaps(lifts([rest, hat]));
    expect(full).toBe(4);
    expect(Array.from(bytes[0])).toEqual([0, 0, 0, 0]);
    expect(Array.from(bytes[1])).toEqual([255, 0, 0, 0]);
  });
  test('shares are on one scale for all words', () => {
    const { bytes } = shareMaps([rest, hat], String);
    expect(bytes[0][0]).toBe(255);
    expect(bytes[1][0]).toBe(51);
  });
  test('a word that nobody looks at has no place and makes no NaN', () => {
    expect(Array.from(lifts([new Float32Array(4)])[0])).toEqual([1, 1, 1, 1]);
  });
  test('places are said in words', () => {
    expect(sayPlace(0, 7, 8, 8)).toBe('top right');
    expect(sayPlace(4, 4, 8, 8)).toBe('middle');
    expect(sayPlace(7, 4, 8, 8)).toBe('bottom');
  });
});

describe('how patches look at each other', () => {
  // Of looks 3 and 12, two layers with two heads of a picture of two patches.
  const square = (...values: number[]) => ({ dtype: 'U8' as const, shape: [2, 2, 2], values: Uint8Array.from(values) });
  const names = ['self_attention.12.10', 'self_attention.12.2', 'self_attention.3.2'];
  const arrays = {
    'self_attention.12.10': square(255, 0, 0, 255, 0, 255, 255, 0),
    'self_attention.12.2': square(51, 204, 204, 51, 51, 204, 204, 51),
    'self_attention.3.2': square(255, 0, 255, 0, 255, 0, 255, 0),
  };
  const trace = readTrace<PictureAbout>(
    writeTrace('picture', {}, arrays, Object.fromEntries(names.map((name) => [name, 1]))),
  );

  test('is kept layer after layer, by their numbers', () => {
    expect(ownLayers(trace, 12)).toEqual([2, 10]);
    expect(ownLayers(trace, 1)).toEqual([]);
    expect(nearestOwn(trace, 6)).toBe(3);
    expect(nearestOwn(trace, 20)).toBe(12);
  });
  test('is a row of each head, in order, and their mean', () => {
    const maps = patchMaps(trace, 12, 1);
    expect(maps.map((map) => Array.from(map, (value) => Math.round(value * 10) / 10))).toEqual([
      [0.8, 0.2],
      [0.8, 0.2],
      [0, 1],
      [1, 0],
    ]);
    expect(meanMap(maps)[0]).toBeCloseTo(0.65);
    expect(meanMap([])).toHaveLength(0);
  });
});

describe('towards which colour the prompt pulls', () => {
  const grid = { width: 2, height: 1, rows: 1, columns: 2, guidance: 3 };
  const grey = Uint8Array.of(128, 128, 128, 128, 128, 128);

  test('nothing where both are alike, and as many times as far as guidance goes', () => {
    const [red, same] = pulls(grey, Uint8Array.of(200, 100, 100, 128, 128, 128), grid);
    expect(same).toEqual({ light: 0, red: 0, yellow: 0 });
    expect(sayPull(same)).toBe('no other colour to speak of');
    const [plain] = pulls(grey, Uint8Array.of(200, 100, 100, 128, 128, 128), { ...grid, guidance: 1 });
    expect(red.red).toBeCloseTo(3 * plain.red);
    expect(sayPull(red)).toMatch(/^redder by 0\.\d\d, /);
  });
  test.each([
    [[100, 160, 100], /greener/],
    [[180, 180, 90], /yellower/],
    [[90, 90, 200], /bluer/],
    [[220, 220, 220], /^lighter by/],
    [[40, 40, 40], /^darker by/],
  ])('is said in words: %s', (colour, said) => {
    const [pull] = pulls(grey, Uint8Array.of(...colour, 0, 0, 0), grid);
    expect(sayPull(pull)).toMatch(said);
  });
});

describe('before and after', () => {
  test('black to white is all the way, and patches are means of their pixels', () => {
    const black = new Uint8Array(4 * 2 * 3);
    const white = black.map((_, index) => (index % 12 < 6 ? 255 : 0)); // the left half of 4 × 2 pixels
    const apart = difference(black, white);
    expect(Array.from(apart)).toEqual([1, 1, 0, 0, 1, 1, 0, 0]);
    expect(Array.from(byPatch(apart, 4, 2, 1, 2))).toEqual([1, 0]);
    expect(inside([1, 0], [true, false])).toEqual({ in: 1, out: 0 });
    expect(inside([1, 0], [false, false])).toBeNull();
  });
});

describe('changes in an address', () => {
  test('come back as they were', () => {
    const changes = readChanges(
      '[{"kind":"remove_word","word":2},{"kind":"head_off","layer":1,"head":0,"where":"attention"},{"kind":"weigh_word","word":0,"weight":2.5}]',
    );
    expect(changes).toHaveLength(3);
    expect(readChanges(writeChanges(changes))).toEqual(changes);
  });
  test.each(['', '{', '{}', 'null', '[null]', '[{"kind":"explode"}]', '[{"kind":"remove_word","word":-1}]', '[3]'])(
    'are left out where they are none: %s',
    (text) => {
      expect(readChanges(text)).toEqual([]);
    },
  );
  test('of one word the last counts', () => {
    const changes = withChange([{ kind: 'remove_word', word: 1 }], { kind: 'weigh_word', word: 1, weight: 2 });
    expect(changes).toEqual([{ kind: 'weigh_word', word: 1, weight: 2 }]);
    expect(withChange(changes, { kind: 'remove_word', word: 0 })).toHaveLength(2);
    expect(say(changes[0], [{ text: 'a' }, { text: 'fox' }])).toBe('“fox” × 2');
  });
  test('a head that is off is put on again, and the other kind of head is another', () => {
    const off: PictureChange = { kind: 'head_off', layer: 1, head: 0 };
    const own: PictureChange = { ...off, where: 'attention' };
    const both = toggled(toggled([], off), own);
    expect(both).toEqual([off, own]);
    expect(toggled(both, { ...off, where: 'cross_attention' })).toEqual([own]);
  });
});

test('what a report carries is checked: a picture from elsewhere is left out', () => {
  const sound = {
    change: { kind: 'remove_word', word: 0 },
    prompt: 'fox',
    picture: 'data:image/webp;base64,AAAA',
    changed: 0.5,
    patches: [0.5],
  };
  expect(readPainted([sound])).toHaveLength(1);
  expect(
    readPainted([
      { ...sound, picture: 'http://elsewhere/x.png' },
      { ...sound, patches: 'x' },
    ]),
  ).toEqual([]);
  expect(readPainted(undefined)).toEqual([]);
});

test('words are letters and digits of any script', () => {
  expect(words('a fox, in a top-hat!')).toEqual(['a', 'fox', 'in', 'a', 'top', 'hat']);
  expect(words('قطة سوداء')).toEqual(['قطة', 'سوداء']);
  expect(words('...')).toEqual([]);
});
