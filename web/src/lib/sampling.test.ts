import { describe, expect, test } from 'vitest';

import { chance, normal } from '../../dev/synthetic';
import { chances, nearest, type Known } from './sampling';

const temperatures = Array.from({ length: 20 }, (_, index) => (index + 1) / 10);
/** A whole vocabulary, and what a trace keeps of it. */
function vocabulary(size: number, kept: number, spread: number): { logits: number[]; known: Known } {
  const gauss = normal(chance(size + kept));
  const logits = Array.from({ length: size }, () => gauss() * spread).sort((a, b) => b - a);
  const logsumexp = temperatures.map(
    (heat) => logits[0] / heat + Math.log(logits.reduce((sum, logit) => sum + Math.exp((logit - logits[0]) / heat), 0)),
  );
  return { logits, known: { logits: logits.slice(0, kept), logsumexp, temperatures, vocab_size: size } };
}
/** The same by the book, over the whole vocabulary. */
function byTheBook(logits: number[], heat: number, topK: number, topP: number): number[] {
  let chance = logits.map((logit) => Math.exp((logit - logits[0]) / heat));
  const share = (values: number[]): number[] => {
    const sum = values.reduce((a, b) => a + b, 0);
    return values.map((value) => value / sum);
  };
  chance = share(chance);
  if (topK > 0) chance = share(chance.map((value, place) => (place < topK ? value : 0)));
  if (topP < 1) {
    let before = 0;
    chance = share(
      chance.map((value) => {
        const keep = before < topP;
        before += value;
        return keep ? value : 0;
      }),
    );
  }
  return chance;
}

describe('chances of the next token', () => {
  const { logits, known } = vocabulary(3000, 64, 3);

  test.each([
    [1, 0, 1],
    [0.3, 0, 1],
    [1.7, 0, 1],
    [1, 5, 1],
    [0.8, 40, 0.9],
    [0.5, 0, 0.6],
    [1, 64, 0.5],
    [1, 1, 1],
    [1, 0, 0.01],
  ])('at temperature %s, top-k %s, top-p %s are those of the whole vocabulary', (temperature, topK, topP) => {
    const found = chances(known, { temperature, topK, topP });
    const wanted = byTheBook(logits, temperature, topK, topP);
    expect(found.within).toBe(0);
    for (let place = 0; place < 64; place++) expect(found.chance[place]).toBeCloseTo(wanted[place], 9);
    expect(found.kept).toBe(wanted.filter((value) => value > 0).length);
  });

  test('say by how much they are off when the nucleus is larger than what is known', () => {
    const flat = vocabulary(3000, 64, 0.5);
    const found = chances(flat.known, { temperature: 1, topK: 0, topP: 0.9 });
    const wanted = byTheBook(flat.logits, 1, 0, 0.9);
    expect(found.kept).toBeNull();
    expect(found.within).toBeGreaterThan(0);
    for (let place = 0; place < 64; place++) {
      expect(found.chance[place]).toBeGreaterThanOrEqual(wanted[place] - 1e-12);
      expect(found.chance[place]).toBeLessThanOrEqual(wanted[place] * (1 + found.within) + 1e-12);
    }
  });

  test('keep what is exactly as likely as the last one kept', () => {
    const logsumexp = temperatures.map((heat) => Math.log(3 * Math.exp(1 / heat) + 1));
    const equal: Known = { logits: [1, 1, 1, 0], logsumexp, temperatures, vocab_size: 4 };
    expect(chances(equal, { temperature: 1, topK: 2, topP: 1 }).kept).toBe(3);
    expect(chances(equal, { temperature: 1, topK: 0, topP: 0.1 }).kept).toBe(3);
  });

  test('add up to one with the rest', () => {
    const { before, rest } = chances(known, { temperature: 1, topK: 0, topP: 1 });
    expect(before.reduce((a, b) => a + b, rest)).toBeCloseTo(1, 9);
  });

  test('are those of the nearest temperature that was kept', () => {
    expect(nearest(temperatures, 0.84)).toBe(7);
    expect(nearest(temperatures, 99)).toBe(19);
  });
});
