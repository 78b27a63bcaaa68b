import { describe, expect, test } from 'vitest';

import { byPatch, difference, inside, liftMaps, lifts, placeOf, sayPlace, sayWhere, shareMaps } from './maps';
import { readChanges, readPainted, say, withChange, writeChanges } from './changes';
import { words } from './ask';

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
});

test('what a report carries is checked: a picture from elsewhere is left out', () => {
  const sound = {
    change: { kind: 'remove_word', word: 0 },
    prompt: 'fox',
    picture: 'data:image/webp;base64,AAAA',
    changed: 0.5,
    patches: [0.5],
  };
  expect(readPainted({ changes: [sound] })).toHaveLength(1);
  expect(
    readPainted({
      changes: [
        { ...sound, picture: 'http://elsewhere/x.png' },
        { ...sound, patches: 'x' },
      ],
    }),
  ).toEqual([]);
  expect(readPainted({})).toEqual([]);
});

test('words are letters and digits of any script', () => {
  expect(words('a fox, in a top-hat!')).toEqual(['a', 'fox', 'in', 'a', 'top', 'hat']);
  expect(words('قطة سوداء')).toEqual(['قطة', 'سوداء']);
  expect(words('...')).toEqual([]);
});
