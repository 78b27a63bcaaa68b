import { cleanup, render, screen, within } from '@testing-library/svelte';
import { userEvent } from '@testing-library/user-event';
import { createRawSnippet } from 'svelte';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { pictureTrace, textTrace } from '../../dev/synthetic';
import { shownOf } from '../lib/about';
import { tableOf } from '../lib/table';
import DataTable from './DataTable.svelte';
import Figure from './Figure.svelte';
import FilmStrip from './FilmStrip.svelte';
import LedgerBars from './LedgerBars.svelte';
import LossChart from './LossChart.svelte';
import NeuronList from './NeuronList.svelte';
import ScheduleChart from './ScheduleChart.svelte';
import SideBySide from './SideBySide.svelte';

afterEach(cleanup);
const user = userEvent.setup();
const children = createRawSnippet(() => ({ render: () => '<p>the figure</p>' }));

describe('Figure', () => {
  const trace = textTrace({ tokens: 6, layers: 1, heads: 1 });

  test('says which model, checkpoint, replay and changes it shows', () => {
    trace.about.changes = [{ kind: 'head_off', layer: 0, head: 0 }];
    const { container } = render(Figure, { title: 'One head', shown: shownOf(trace), children });
    const said = container.querySelector('figcaption')!.textContent!.replace(/\s+/g, ' ');
    for (const part of ['synthetic', 'step 12,000', 'replay within 3.1 × 10⁻⁵, 100% same first choice', 'head 0.0 off'])
      expect(said).toContain(part);
    expect(screen.getByRole('figure', { name: 'One head' })).toBeTruthy();
  });

  test('says where nothing was replayed, of a picture and of a text', () => {
    const picture = pictureTrace();
    const text = textTrace({ tokens: 6, layers: 1, heads: 1 });
    for (const [made, says] of [
      [picture, 'recorded while it was painted'],
      [text, 'read, not replayed'],
    ] as const) {
      made.about.replay = null;
      const { container } = render(Figure, { title: 'A figure', shown: shownOf(made), children });
      const said = container.querySelector('figcaption')!.textContent!;
      expect(said).toContain(says);
      expect(said).not.toContain('replay within');
    }
  });

  test('copies its Python', async () => {
    const copied = vi.fn(async () => undefined);
    vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText: copied } });
    render(Figure, { title: 'One head', python: () => 'trace["attention.0"]', children });
    await user.click(screen.getByRole('button', { name: 'Copy as Python' }));
    expect(copied).toHaveBeenCalledWith('trace["attention.0"]');
    expect(screen.getByRole('status').textContent).toBe('Copied as Python');
    vi.unstubAllGlobals();
  });

  test('shows the lines where the browser does not let it copy', async () => {
    vi.stubGlobal('navigator', { ...navigator, clipboard: undefined });
    render(Figure, { title: 'One head', python: 'trace.save("a")', children });
    await user.click(screen.getByRole('button', { name: 'Copy as Python' }));
    expect((screen.getByRole('textbox') as HTMLTextAreaElement).value).toBe('trace.save("a")');
    vi.unstubAllGlobals();
  });

  test('becomes a table and a figure again', async () => {
    render(Figure, { title: 'One head', table: () => tableOf(['token', 'share'], [['a', 0.5]]), children });
    expect(screen.queryByRole('table')).toBeNull();
    await user.click(screen.getByRole('button', { name: 'View as table' }));
    expect(within(screen.getByRole('table')).getByRole('columnheader', { name: 'share' })).toBeTruthy();
    expect(screen.queryByText('the figure')).toBeNull();
    await user.click(screen.getByRole('button', { name: 'View as figure' }));
    expect(screen.getByText('the figure')).toBeTruthy();
  });

  test('has no button that does nothing', () => {
    render(Figure, { title: 'Plain', children });
    expect(screen.queryByRole('button')).toBeNull();
  });
});

describe('DataTable', () => {
  test('of a quarter of a million cells draws a few, and says how many there are', () => {
    const cell = vi.fn((row: number, column: number) => row * 512 + column);
    render(DataTable, {
      caption: 'All',
      table: { columns: Array.from({ length: 40 }, (_, n) => ({ name: String(n), numeric: true })), rows: 6500, cell },
    });
    expect(screen.getByRole('table').getAttribute('aria-rowcount')).toBe('6501');
    expect(cell.mock.calls.length).toBeLessThan(2000);
  });
});

describe('LedgerBars', () => {
  const parts = [
    { name: 'embedding', value: 2 },
    {
      name: 'attention 0',
      value: -0.5,
      parts: [
        { name: 'head 0', value: -1 },
        { name: 'head 1', value: 0.5 },
      ],
    },
    { name: 'rest', value: 0.25 },
  ];

  test('adds up, and each bar begins where the one before ended', () => {
    const { container } = render(LedgerBars, { parts, total: 'logit of cat' });
    const lines = [...container.querySelectorAll('.line')].map((line) => line.textContent!.replace(/\s+/g, ' ').trim());
    expect(lines.at(-1)).toBe('logit of cat 1.75');
    const bars = [...container.querySelectorAll<HTMLElement>('.bar')].map((bar) => [
      parseFloat(bar.style.left),
      parseFloat(bar.style.width),
    ]);
    expect(bars[0]).toEqual([0, 100]);
    expect(bars[1]).toEqual([75, 25]);
    expect(bars[2]).toEqual([75, 12.5]);
  });

  test('opens a part that has parts', async () => {
    render(LedgerBars, { parts, total: 'logit' });
    await user.click(screen.getByRole('button', { name: /attention 0/, expanded: false }));
    expect(within(screen.getByRole('list', { name: 'attention 0 in parts' })).getAllByRole('listitem')).toHaveLength(2);
  });
});

describe('NeuronList', () => {
  test('has the last layer first and chooses one', async () => {
    const onselect = vi.fn();
    render(NeuronList, {
      layers: [[{ neuron: 5, value: 1 }], [{ neuron: 9, value: -2 }]],
      onselect,
      off: (layer: number) => layer === 1,
    });
    expect(screen.getAllByRole('heading').map((heading) => heading.textContent)).toEqual(['layer 1', 'layer 0']);
    await user.click(screen.getByRole('button', { name: 'layer 1, neuron 9: −2, switched off' }));
    expect(onselect).toHaveBeenCalledWith({ layer: 1, neuron: 9 });
  });
});

describe('FilmStrip', () => {
  const trace = pictureTrace({ looks: 5, size: 8, rows: 4 });

  test('is scrubbed with keys and slider', async () => {
    const onselect = vi.fn();
    render(FilmStrip, { given: trace.kept('given'), seen: trace.kept('seen'), onselect });
    screen.getByRole('listbox').focus();
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith(2);
    expect(screen.getByText('3 of 5')).toBeTruthy();
    screen.getByRole('slider', { name: 'Look' }).focus();
    await user.keyboard('{ArrowLeft}');
    expect(onselect).toHaveBeenLastCalledWith(1);
    expect(screen.getByRole('option', { selected: true }).getAttribute('aria-label')).toBe('Look 2');
  });

  test('names looks by their number where only some are shown', () => {
    render(FilmStrip, { seen: trace.kept('seen'), numbers: [0, 2, 4, 6, 8], of: 10 });
    expect(screen.getAllByRole('option').map((option) => option.getAttribute('aria-label'))).toEqual([
      'Look 1',
      'Look 3',
      'Look 5',
      'Look 7',
      'Look 9',
    ]);
  });
});

describe('charts', () => {
  test('of losses say the last values, and can be logarithmic', async () => {
    const points = Array.from({ length: 300 }, (_, step) => ({ step, value: 5 / (step + 1) }));
    const { container } = render(LossChart, { series: [{ name: 'training', points }], live: true });
    await vi.waitFor(() => expect(container.querySelector('svg')).not.toBeNull(), 20000);
    expect(container.querySelector('svg')!.getAttribute('aria-label')).toContain('training 0.0167 at step 299');
    expect(screen.getByText('live')).toBeTruthy();
    const drawn = container.querySelector('svg')!.outerHTML;
    await user.click(screen.getByRole('radio', { name: 'Logarithmic' }));
    await vi.waitFor(() => expect(container.querySelector('svg')!.outerHTML).not.toBe(drawn));
  });

  test('of losses without a step say so', () => {
    render(LossChart, { series: [], live: true });
    expect(screen.getByText('Waiting for the first step …')).toBeTruthy();
  });

  test('of a schedule name both lines', async () => {
    const { container } = render(ScheduleChart, {
      looks: pictureTrace({ looks: 4, size: 8, rows: 4 }).about.looks,
      selected: 1,
    });
    await vi.waitFor(() => expect(container.querySelector('svg')?.textContent).toContain('picture α'), 20000);
  });
});

describe('SideBySide', () => {
  test('marks what differs', () => {
    const { container } = render(SideBySide, { texts: { before: 'a red hat', after: 'a blue hat' } });
    expect(container.querySelector('del')!.textContent).toBe(' red');
    expect(container.querySelector('ins')!.textContent).toBe(' blue');
  });
  test('says when nothing does', () => {
    render(SideBySide, { texts: { before: 'a', after: 'a' } });
    expect(screen.getByText('Both are the same.')).toBeTruthy();
  });
});
