import { execFileSync } from 'node:child_process';

import { expect, test } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import { literal, program, pythonFor, rememberRuns } from './python';

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

test('a prompt is given as its ids, with its text beside them', () => {
  const trace = textTrace({ tokens: 8, layers: 1, heads: 1 });
  const first = trace.about.tokens.findIndex((token) => token.written);
  const ids = trace.about.tokens.slice(0, first).map((token) => token.id);
  expect(first).toBeGreaterThan(0);
  expect(pythonFor(trace)).toContain(`prompt = [${ids.join(', ')}]  # ${literal(trace.about.run!.prompt)}\n`);
  trace.about.run!.prompt = 'a\nb'.repeat(100);
  expect(pythonFor(trace).match(/# .*/)![0].length).toBeLessThan(100);
});

test('of a text that slid through its window the prompt is given as text', () => {
  const trace = textTrace({ tokens: 8, layers: 1, heads: 1 });
  trace.about.run!.settings.window = 'slide';
  expect(pythonFor(trace)).toContain(`prompt = ${literal(trace.about.run!.prompt)}\n`);
});

test('what a trace keeps only when it is asked for is asked for', () => {
  const trace = textTrace({ tokens: 8, layers: 1, heads: 1 });
  expect(pythonFor(trace, 'trace["lens.ids"]')).toContain('model.trace(written, keep="everything")');
  expect(pythonFor(trace, 'trace["logprobs"]')).toContain('model.trace(written)');
});

test('runs are opened where they are, and checkpoints at their step', () => {
  expect(program({ model: 'story' }, 'model')).toBe('import limner\n\nmodel = limner.load("story")\nmodel\n');
  expect(program({ model: 'runs/sky' })).toContain('limner.load("runs/sky")');
  rememberRuns([
    { name: 'story', path: '/models/story' },
    { name: 'runs/sky', path: '/far/away/runs/sky/model' },
  ]);
  expect(program({ one: 'runs/sky', other: 'runs/sky@40' }, 'limner.compare')).toBe(
    'from pathlib import Path\n\nimport limner\nfrom limner.train.looking_back import open_at\n\n' +
      'one = limner.load("/far/away/runs/sky")\nother = open_at(Path("/far/away/runs/sky"), 40)\nlimner.compare\n',
  );
});
