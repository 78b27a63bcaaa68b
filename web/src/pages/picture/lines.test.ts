import { describe, expect, test } from 'vitest';

import { pictureTrace } from '../../../dev/synthetic';
import type { PictureTrace } from '../../lib/about';
import { linesFor, linesForChanges, linesForHeads } from './lines';

/** A trace whose settings and model are other than usual. */
function odd(): PictureTrace {
  const trace = pictureTrace({ looks: 4, size: 16 }) as PictureTrace;
  Object.assign(trace.about.settings, { width: 64, height: 32 });
  trace.about.model.name = 'runs/fox@40';
  trace.about.changes = [{ kind: 'head_off', layer: 1, head: 0 }];
  return trace;
}
const OWN = '{"kind": "head_off", "layer": 1, "head": 0}';

describe.each<[string, (trace: PictureTrace) => string]>([
  ['that look inside', (trace) => linesFor(trace, 'trace.seen(0)')],
  ['that switch heads off', (trace) => linesForHeads(trace, 'attention')],
  ['that change a word', (trace) => linesForChanges(trace, [{ kind: 'remove_word', word: 1 }])],
])('lines %s', (_, lines) => {
  test('open a checkpoint of a run', () => expect(lines(odd())).toContain('painter = open_at(Path("runs/fox"), 40)'));
  test('paint at the size', () => expect(lines(odd())).toContain('size=(32, 64)'));
  test('keep what was changed already', () => expect(lines(odd())).toContain(OWN));
});

test('of a trace that keeps some looks, the same are kept', () => {
  const trace = odd();
  expect(linesFor(trace)).not.toContain('looks=');
  trace.about.schedule = trace.about.looks;
  trace.about.looks = trace.about.looks.slice(1, 3);
  expect(linesFor(trace)).toContain('looks=[1, 2]');
});
