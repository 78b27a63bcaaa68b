import { execFileSync } from 'node:child_process';

import { expect, test } from 'vitest';

import { textTrace, pictureTrace } from '../../dev/synthetic';
import { literal, pythonFor } from './python';

test.each([
  [null, 'None'],
  [true, 'True'],
  [0.5, '0.5'],
  [NaN, 'float("nan")'],
  ['a "b" \\ \n', '"a \\"b\\" \\\\ \\n"'],
  [[1, 'x', false], '[1, "x", False]'],
  [{ kind: 'head_off', layer: 1 }, '{"kind": "head_off", "layer": 1}'],
])('%j is %s', (value, python) => expect(literal(value)).toBe(python));

test('strange texts come through Python as they are', () => {
  const strange = 'é 猫 🐈 \u2028 \u0085 \u200f </script> \\x41 \' " {x} %s';
  let out: string;
  try {
    out = execFileSync('python3', ['-c', `import json; print(json.dumps(${literal(strange)}))`], { encoding: 'utf8' });
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return; // no Python here to ask
    throw error;
  }
  expect(JSON.parse(out)).toBe(strange);
});

test('a run is written again as it was', () => {
  const lines = pythonFor(textTrace({ tokens: 8, layers: 1, heads: 1 }), 'trace["logprobs"]');
  expect(lines).toContain('model = limner.load("synthetic")');
  expect(lines).toContain('seed=7');
  expect(lines).toContain('temperature=0.8');
  expect(lines.trimEnd().endsWith('trace["logprobs"]')).toBe(true);
});

test('changes are named', () => {
  const trace = textTrace({ tokens: 8, layers: 1, heads: 1 });
  trace.about.changes.push({ kind: 'head_off', layer: 0, head: 0 });
  expect(pythonFor(trace)).toContain('[{"kind": "head_off", "layer": 0, "head": 0}]');
});

test('a picture is painted again as it was', () => {
  const lines = pythonFor(pictureTrace({ looks: 2, size: 16 }));
  expect(lines).toContain('"a red fox with a blue hat"');
  expect(lines).toContain('seed=3');
});
