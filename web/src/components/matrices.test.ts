import { cleanup, fireEvent, render, screen, within } from '@testing-library/svelte';
import { userEvent } from '@testing-library/user-event';
import { tick } from 'svelte';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { drawnOn } from '../../dev/setup';
import { pictureTrace, textTrace } from '../../dev/synthetic';
import AttentionArcs from './AttentionArcs.svelte';
import AttentionGrid from './AttentionGrid.svelte';
import AttentionMatrix from './AttentionMatrix.svelte';
import CausalGrid from './CausalGrid.svelte';
import HeatOverlay from './HeatOverlay.svelte';
import LensTable from './LensTable.svelte';
import WordMap2D from './WordMap2D.svelte';

afterEach(cleanup);
const user = userEvent.setup();
const tokens = ['a', 'b', 'c', 'd'].map((text) => ({ text }));
// Each looks at itself with 60% and at the first with 40%.
const head = { bytes: Uint8Array.of(255, 0, 0, 0, 102, 153, 0, 0, 102, 0, 153, 0, 102, 0, 0, 153), size: 4, scale: 1 };

describe('AttentionMatrix', () => {
  test('tells the cell under the cursor, which the keys move', async () => {
    const onselect = vi.fn();
    render(AttentionMatrix, { head, tokens, onselect });
    const frame = screen.getByRole('application');
    frame.focus();
    await user.keyboard('{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith({ query: 3, key: 0 });
    expect(frame.parentElement!.textContent).toMatch(/d gives 40.0% of its\s+attention to a/);
    await user.keyboard('{End}');
    expect(frame.parentElement!.textContent).toMatch(/d gives 60.0% of its\s+attention to d, itself/);
    await user.keyboard('{ArrowUp}{ArrowUp}{ArrowUp}{ArrowUp}{ArrowUp}');
    expect(onselect).toHaveBeenLastCalledWith({ query: 0, key: 3 });
  });

  test('is drawn, and anew when the head is another', async () => {
    const { container, rerender } = render(AttentionMatrix, { head, tokens });
    await tick();
    const canvas = container.querySelector('canvas')!;
    const times = (): number => drawnOn(canvas).filter((call) => call.method === 'drawImage').length;
    expect(times()).toBe(1);
    await rerender({ head: { ...head, bytes: head.bytes.slice() } });
    expect(times()).toBe(2);
  });
});

describe('AttentionGrid', () => {
  const trace = textTrace({ tokens: 20, layers: 2, heads: 3 });
  const heads = [0, 1].map((layer) =>
    [0, 1, 2].map((at) => ({ bytes: trace.rowKept(`attention.${layer}`, at).data as Uint8Array, size: 20, scale: 1 })),
  );
  const get = (layer: number, at: number): (typeof heads)[0][0] => heads[layer][at];

  test('is gone through with the arrow keys', async () => {
    const onselect = vi.fn();
    render(AttentionGrid, { get, layers: 2, heads: 3, onselect });
    screen.getByRole('application').focus();
    await user.keyboard('{ArrowRight}{ArrowRight}{ArrowDown}{ArrowDown}{ArrowDown}');
    expect(onselect).toHaveBeenLastCalledWith({ layer: 1, head: 1 });
    expect(screen.getByText(/Layer/).textContent).toMatch(/Layer 1, head 1:/);
    await user.keyboard('{End}');
    expect(onselect).toHaveBeenLastCalledWith({ layer: 1, head: 2 });
  });

  test('moves its cursor without drawing the squares again', async () => {
    const { container } = render(AttentionGrid, { get, layers: 2, heads: 3 });
    const [under, over] = [...container.querySelectorAll('canvas')];
    await vi.waitFor(() => expect(drawnOn(under).filter((call) => call.method === 'drawImage')).toHaveLength(6));
    screen.getByRole('application').focus();
    const before = drawnOn(over).length;
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(drawnOn(over).length).toBeGreaterThan(before);
    expect(drawnOn(under).filter((call) => call.method === 'drawImage')).toHaveLength(6);
  });

  test('says which heads are off', async () => {
    render(AttentionGrid, {
      get,
      layers: 2,
      heads: 3,
      selected: { layer: 1, head: 0 },
      off: (layer: number) => layer === 1,
    });
    expect(screen.getByText(/switched off/)).toBeTruthy();
  });
});

describe('AttentionArcs', () => {
  test('draws what the chosen token looks at, and the other way round', async () => {
    const { container, rerender } = render(AttentionArcs, { head, tokens, selected: 2 });
    expect(container.querySelectorAll('path')).toHaveLength(2);
    expect(screen.getByText(/looks most at/).textContent!.replace(/\s+/g, ' ')).toContain('c looks most at c (60.0%)');
    await rerender({ direction: 'looked', selected: 0 });
    expect(container.querySelectorAll('path')).toHaveLength(4);
  });

  test('is chosen from with the keys', async () => {
    const onselect = vi.fn();
    render(AttentionArcs, { head, tokens, onselect });
    await user.tab();
    await user.keyboard('{ArrowDown}{ArrowDown}');
    expect(onselect).toHaveBeenLastCalledWith(1);
    expect(screen.getByRole('option', { selected: true }).textContent).toContain('b');
  });
});

describe('LensTable', () => {
  const best = (layer: number, place: number): { text: string; logprob: number }[] =>
    Array.from({ length: 5 }, (_, rank) => ({
      text: `w${layer}.${place}.${rank}`,
      logprob: Math.log(0.5 / (rank + 1)),
    }));

  test('has the last layer on top and is gone through with the keys', async () => {
    const onselect = vi.fn();
    render(LensTable, { tokens, layers: 3, best, onselect, actual: () => Math.log(0.25) });
    const rows = screen.getAllByRole('row');
    expect(within(rows[0]).getByRole('rowheader').textContent).toBe('layer 1');
    expect(within(rows[2]).getByRole('rowheader').textContent).toBe('embedding');
    screen.getByRole('grid').focus();
    await user.keyboard('{ArrowDown}{ArrowDown}{ArrowLeft}');
    expect(onselect).toHaveBeenLastCalledWith({ layer: 1, place: 2 });
    expect(screen.getByText('w1.2.4')).toBeTruthy();
    expect(screen.getByText(/what follows/).textContent).toContain('25.0%');
  });

  test('of five hundred tokens draws only those in view', () => {
    const { container } = render(LensTable, {
      tokens: Array.from({ length: 512 }, (_, place) => ({ text: String(place) })),
      layers: 13,
      best,
    });
    expect(container.querySelectorAll('[role=gridcell]').length).toBeLessThan(400);
    expect(screen.getByRole('grid').getAttribute('aria-colcount')).toBe('513');
  });
});

describe('CausalGrid', () => {
  test('is gone through with the keys and says what is not there yet', async () => {
    const onselect = vi.fn();
    render(CausalGrid, {
      change: [
        [0.1, -0.2],
        [0, null],
      ],
      onselect,
    });
    screen.getByRole('grid').focus();
    await user.keyboard('{ArrowDown}{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith({ layer: 0, head: 1 });
    expect(screen.getByRole('gridcell', { selected: true, name: 'layer 0, head 1: −20 points' })).toBeTruthy();
    await user.keyboard('{ArrowDown}');
    expect(screen.getByText(/off:/).textContent).toContain('not computed yet');
  });

  test('paints less orange and more blue', () => {
    render(CausalGrid, { change: [[0.2, -0.2, 0]] });
    const [more, less, none] = screen
      .getAllByRole('gridcell')
      .map((cell) => cell.style.background.match(/\d+/g)!.map(Number));
    expect(more[2]).toBeGreaterThan(more[0]);
    expect(less[0]).toBeGreaterThan(less[2]);
    expect(Math.min(...none)).toBeGreaterThan(240);
  });
});

describe('HeatOverlay', () => {
  const trace = pictureTrace({ looks: 3, size: 32, rows: 4 });
  const props = {
    bytes: trace.kept('picture').data as Uint8Array,
    width: 32,
    height: 32,
    words: [{ text: 'fox' }, { text: 'hat' }],
    heat: (word: number) => Uint8Array.from({ length: 16 }, (_, patch) => (word === 1 ? (patch === 10 ? 255 : 0) : 51)),
    scale: 0.5,
    rows: 4,
    columns: 4,
  };

  test('lights up the words that look where the cursor is', async () => {
    const onpoint = vi.fn();
    const { container } = render(HeatOverlay, { ...props, onpoint });
    screen.getByRole('application').focus();
    await user.keyboard('{ArrowDown}');
    expect(onpoint).toHaveBeenLastCalledWith({ row: 2, column: 2 });
    expect(container.querySelector('.note')!.textContent!.replace(/\s+/g, ' ')).toContain(
      'Row 3, column 3: hat 50.0%, fox 10.0%',
    );
    expect(screen.getByRole('button', { name: 'hat, 50.0%' })).toBeTruthy();
    await user.keyboard('{Escape}');
    expect(onpoint).toHaveBeenLastCalledWith(null);
  });

  test('tells of a patch in words of the figure’s own, and one is chosen with Enter or a click', async () => {
    const onchoose = vi.fn();
    const tell = (row: number, column: number): string => `here ${row}/${column}`;
    const { container } = render(HeatOverlay, { ...props, onchoose, tell, chips: false });
    const frame = screen.getByRole('application');
    frame.focus();
    await user.keyboard('{Enter}');
    expect(onchoose).not.toHaveBeenCalled(); // no patch is pointed at yet
    await user.keyboard('{ArrowDown}{ArrowRight}{Enter}');
    expect(onchoose).toHaveBeenLastCalledWith({ row: 2, column: 3 });
    expect(container.querySelector('.note')!.textContent).toContain('here 2/3');
    const canvas = container.querySelector('canvas')!;
    canvas.getBoundingClientRect = () => ({ left: 0, top: 0, width: 40, height: 40 }) as DOMRect;
    await fireEvent.click(canvas, { clientX: 5, clientY: 25 });
    expect(onchoose).toHaveBeenLastCalledWith({ row: 2, column: 0 });
  });

  test('lays the chosen word over the picture', async () => {
    const onselect = vi.fn();
    const { container } = render(HeatOverlay, { ...props, onselect });
    const images = (): number =>
      drawnOn(container.querySelector('canvas')!).filter((call) => call.method === 'drawImage').length;
    await tick();
    expect(images()).toBe(1);
    await user.click(screen.getByRole('button', { name: 'hat' }));
    expect(onselect).toHaveBeenCalledWith(1);
    expect(images()).toBe(3); // the picture again, and the veil
    expect(screen.getByRole('application').getAttribute('aria-label')).toContain('where “hat” looks');
  });
});

describe('WordMap2D', () => {
  test('is gone through with the keys: to the nearest in that direction', async () => {
    const onselect = vi.fn();
    const words = ['middle', 'east', 'far east', 'north'];
    render(WordMap2D, {
      points: Float32Array.of(0, 0, 1, 0, 5, 0, 0, 2),
      word: (index: number) => words[index],
      onselect,
    });
    screen.getByRole('application').focus();
    await user.keyboard('{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith(0);
    await user.keyboard('{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith(1);
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(onselect).toHaveBeenLastCalledWith(2);
    await user.keyboard('{ArrowLeft}{ArrowLeft}{ArrowUp}');
    expect(onselect).toHaveBeenLastCalledWith(3);
  });

  test('names the word that is clicked', async () => {
    const onselect = vi.fn();
    // Two words, 552 pixels apart on a frame of 600 × 400 with a margin of 24.
    render(WordMap2D, {
      points: Float32Array.of(0, 0, 1, 0),
      word: (index: number) => ['west', 'east'][index],
      onselect,
      height: 400,
    });
    const frame = screen.getByRole('application');
    await fireEvent.click(frame, { clientX: 570, clientY: 204 });
    expect(onselect).toHaveBeenLastCalledWith(1);
    expect(frame.parentElement!.textContent).toContain('east');
    await fireEvent.click(frame, { clientX: 300, clientY: 60 }); // nothing is near
    expect(onselect).toHaveBeenCalledOnce();
  });
});
