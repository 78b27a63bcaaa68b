import { describe, expect, test } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import { embedded, fromBase64, type Described } from './embedded';

const described: Described = {
  version: 1,
  title: 'A </script><b>prompt</b>',
  made_with: 'limner 0.1.0',
  traces: ['main'],
  extra: {},
};
const trace = textTrace({ tokens: 6, layers: 1, heads: 1 });
const base64 = btoa(String.fromCharCode(...trace.bytes));

/** A report as limner writes it: JSON in which no character can end an element, and base64, which has none that could. */
function report(said: unknown, traces: Record<string, string> = { main: base64 }): Document {
  const json = JSON.stringify(said).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const elements = Object.entries(traces).map(
    ([id, text]) => `<script type="application/x-limner-trace" data-id="${id}">${text}</script>`,
  );
  return new DOMParser().parseFromString(
    `<!doctype html><body><script type="application/json" id="limner-report">${json}</script>${elements.join('')}</body>`,
    'text/html',
  );
}
const problem = (page: Document): string => {
  const found = embedded(page);
  expect('problem' in found && found.problem !== undefined).toBe(true);
  return (found as { problem: string }).problem;
};

describe('a report', () => {
  test('has what was written into it, whatever the prompt', () => {
    const found = embedded(report(described));
    if (!('traces' in found)) throw new Error(found.problem);
    expect(found.described.title).toBe('A </script><b>prompt</b>');
    expect([...found.traces.get('main')!.values('ids')]).toEqual([...trace.values('ids')]);
  });

  test('without a run is an empty form', () => expect(problem(report(null))).toContain('empty'));
  test('of another version says which', () =>
    expect(problem(report({ ...described, version: 7 }))).toContain('version 7'));
  test('without a trace that it names is damaged', () =>
    expect(problem(report(described, {}))).toContain('the trace main is missing'));
  test('with a trace that is cut off says so', () =>
    expect(problem(report(described, { main: base64.slice(0, 400) }))).toContain('The trace main of this report'));
  test('with what is no base64 is damaged', () =>
    expect(problem(report(described, { main: '%%%' }))).toContain('damaged'));
});

test('bytes come out of base64 as they went in', () => {
  expect([...fromBase64('AAEC/v8=')]).toEqual([0, 1, 2, 254, 255]);
});
