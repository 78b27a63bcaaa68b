import { expect, test } from 'vitest';

import { heldBack, joined, losses, measures, overtook, parted } from './events';

const EVENTS = [
  { event: 'started', step: 0 },
  { event: 'step', step: 1, loss: 3, rate: 0.1 },
  { event: 'evaluation', step: 2, loss: 2.5, training_loss: null, bits_per_byte: 1 },
  { event: 'step', step: 3, loss: 2, rate: 0.1 },
  { event: 'evaluation', step: 4, loss: 1.5, training_loss: 1.8, bits_per_byte: 0.5 },
];

test('training and held-back losses are told apart', () => {
  expect(losses(EVENTS).map((point) => point.value)).toEqual([3, 2]);
  expect(heldBack(EVENTS).map((point) => point.value)).toEqual([2.5, 1.5]);
  expect(measures(EVENTS)).toEqual(['loss', 'bits_per_byte', 'training_loss']);
});

test('a run too short for a logged step tells its means', () => {
  expect(losses(EVENTS.filter(({ event }) => event === 'evaluation'))).toEqual([{ step: 4, value: 1.8 }]);
});

test('a run may be called anything', () => {
  const names = ['sky, again', 'a&b=c', '100%', '空'];
  expect(parted(joined(names))).toEqual(names);
  expect(parted('%,fine')).toEqual(['fine']);
});

test('what overtook stays ahead, or did not overtake', () => {
  const told = (pairs: [number, number][]) => pairs.map(([right, wrong], index) => ({ step: index, right, wrong }));
  expect(overtook(told([[0.1, 0.2], [0.3, 0.2], [0.1, 0.2], [0.4, 0.1]]))).toBe(3); // prettier-ignore
  expect(overtook(told([[0.3, 0.2], [0.1, 0.2]]))).toBeNull(); // prettier-ignore
});
