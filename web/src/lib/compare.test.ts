import { describe, expect, it } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import { attentionOf, following, sameTokens, textRead, weigh } from './compare';

describe('what comes next on either side', () => {
  it('has the likeliest of both, and says where one side does not know a token', () => {
    const left = new Map([
      [' up', 0.6],
      [' into', 0.3],
      [' on', 0.05],
    ]);
    const right = new Map([
      [' into', 0.5],
      [',', 0.2],
    ]);
    expect(weigh(left, right, 2)).toEqual([
      { text: ' up', left: 0.6, right: null },
      { text: ' into', left: 0.3, right: 0.5 },
      { text: ',', left: null, right: 0.2 },
    ]);
  });
});

describe('two readings of one text', () => {
  const trace = textTrace({ tokens: 9, layers: 2, heads: 3 });

  it('is the same text as itself', () => {
    expect(sameTokens(trace, trace)).toBe(true);
    expect(textRead(trace).length).toBeGreaterThan(0);
  });

  it('takes the mean over heads and layers, and each row still adds up to one', () => {
    for (const [layer, head] of [
      [-1, -1],
      [1, -1],
      [1, 2],
    ]) {
      const found = attentionOf(trace, layer, head)!;
      for (let row = 0; row < 9; row++) {
        const sum = found.subarray(row * 9, (row + 1) * 9).reduce((total, value) => total + value, 0);
        expect(sum).toBeCloseTo(1, 1);
      }
    }
  });

  it('gives probabilities that add up to no more than one', () => {
    const sum = [...following(trace).values()].reduce((total, value) => total + value, 0);
    expect(sum).toBeGreaterThan(0);
    expect(sum).toBeLessThanOrEqual(1.001);
  });
});
