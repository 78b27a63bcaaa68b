import { cleanup, render, screen, within } from '@testing-library/svelte';
import { userEvent } from '@testing-library/user-event';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import CandidateBars from './CandidateBars.svelte';
import ContextRuler from './ContextRuler.svelte';
import MergeReplay from './MergeReplay.svelte';
import StreamText from './StreamText.svelte';
import TokenStrip from './TokenStrip.svelte';
import WordChips from './WordChips.svelte';

afterEach(cleanup);
const user = userEvent.setup();

describe('TokenStrip', () => {
  const tokens = ['<|story|>', 'The', ' cat', '\n', '\\xe2'].map((text, place) => ({ text, special: place === 0 }));
  const chosen = (): string[] =>
    screen.getAllByRole('option', { selected: true }).map((token) => token.textContent!.trim());

  test('shows every token, what cannot be seen too', () => {
    render(TokenStrip, { tokens });
    expect(screen.getAllByRole('option').map((token) => token.textContent!.trim())).toEqual([
      '<|story|>',
      'The',
      '·cat',
      '↵',
      'E2',
    ]);
  });

  test('is gone through with the arrow keys, and has one stop for Tab', async () => {
    const onselect = vi.fn();
    render(TokenStrip, { tokens, onselect });
    await user.tab();
    const list = screen.getByRole('listbox');
    expect(document.activeElement).toBe(list);
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(chosen()).toEqual(['The']);
    expect(list.getAttribute('aria-activedescendant')).toBe(screen.getAllByRole('option')[1].id);
    await user.keyboard('{End}');
    expect(onselect).toHaveBeenLastCalledWith(4);
    await user.keyboard('{ArrowRight}'); // the end is the end
    expect(onselect).toHaveBeenLastCalledWith(4);
    await user.tab();
    expect(document.activeElement).toBe(document.body);
  });

  test('runs right to left where the text does, and so do the keys', async () => {
    render(TokenStrip, { tokens: ['القطة', ' تسلقت', ' GPT'].map((text) => ({ text })), selected: 0 });
    expect(screen.getByRole('listbox').getAttribute('dir')).toBe('rtl');
    screen.getByRole('listbox').focus();
    await user.keyboard('{ArrowLeft}');
    expect(chosen()).toEqual(['·تسلقت']);
  });

  test('is chosen from with a click, and says scores', async () => {
    const onselect = vi.fn();
    render(TokenStrip, { tokens, scores: [0, 1, 4, 2, 0], say: (score: number) => `${score} bits`, onselect });
    await user.click(screen.getByRole('option', { name: 'cat, 4 bits' }));
    expect(onselect).toHaveBeenCalledWith(2);
    const grounds = screen.getAllByRole('option').map((token) => token.style.background);
    expect(new Set(grounds).size).toBe(4); // 0, 1, 4, 2, and 0 again
    expect(grounds[0]).toBe(grounds[4]);
  });

  test('understands no markup', () => {
    const { container } = render(TokenStrip, { tokens: [{ text: '<img src=x onerror=alert(1)></script>' }] });
    expect(container.querySelector('img')).toBeNull();
    expect(screen.getByRole('option').textContent).toContain('</script>');
  });

  test('bears an empty text', async () => {
    render(TokenStrip, { tokens: [] });
    await user.tab();
    await user.keyboard('{ArrowRight}{End}');
    expect(screen.queryAllByRole('option')).toEqual([]);
  });
});

describe('CandidateBars', () => {
  const trace = textTrace({ tokens: 12, layers: 1, heads: 1 });
  const known = {
    logits: trace.row('candidates.logits', 5),
    logsumexp: trace.row('logsumexp', 5),
    temperatures: trace.about.temperatures,
    vocab_size: trace.about.model.vocab_size,
  };
  const candidates = [...trace.row('candidates.ids', 5)].map((id) => ({ id, text: trace.about.texts![id] }));
  const bars = (): string[] =>
    screen.getAllByRole('listitem').map((item) => item.textContent!.replace(/\s+/g, ' ').trim());
  const share = (line: string): number => Number(/([\d.]+)%/.exec(line)?.[1]);

  test('are exact at temperature 1', () => {
    render(CandidateBars, { known, candidates });
    const wanted = Math.exp(known.logits[0] - known.logsumexp[9]) * 100;
    expect(share(bars()[0])).toBeCloseTo(wanted, 1);
  });

  test('follow the sliders from the keyboard', async () => {
    const onset = vi.fn();
    render(CandidateBars, { known, candidates, onset });
    const before = share(bars()[0]);
    screen.getByRole('slider', { name: 'Temperature' }).focus();
    await user.keyboard('{ArrowLeft}{ArrowLeft}{ArrowLeft}');
    expect(share(bars()[0])).toBeGreaterThan(before);
    expect(onset.mock.lastCall![0].temperature).toBeCloseTo(0.7, 9);
    screen.getByRole('slider', { name: 'Top-k' }).focus();
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(bars().filter((line) => line.endsWith('out')).length).toBe(10);
    expect(screen.getByText(/^2 of \d+ tokens stay in/)).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'As the model has it' }));
    expect(share(bars()[0])).toBeCloseTo(before, 6);
  });

  test('name what really follows, however far down it is', () => {
    render(CandidateBars, { known, candidates, actual: candidates[30].id });
    expect(bars()).toHaveLength(13);
    expect(bars()[12]).toContain('which follows');
  });

  test('go on with another token', async () => {
    const onchoose = vi.fn();
    render(CandidateBars, { known, candidates, onchoose });
    await user.click(within(screen.getAllByRole('listitem')[3]).getByRole('button'));
    expect(onchoose).toHaveBeenCalledWith(candidates[3]);
  });
});

describe('StreamText', () => {
  test('says that it is being written, and can be stopped', async () => {
    const onstop = vi.fn();
    const { rerender } = render(StreamText, {
      prompt: 'The',
      tokens: [{ text: ' cat', logprob: -1 }],
      running: true,
      onstop,
    });
    expect(screen.getByRole('status').textContent).toBe('Writing');
    await user.click(screen.getByRole('button', { name: 'Stop' }));
    expect(onstop).toHaveBeenCalledOnce();
    await rerender({ running: false });
    expect(screen.getByRole('status').textContent).toBe('Done: 1 tokens');
    expect(screen.queryByRole('button')).toBeNull();
  });
});

describe('WordChips', () => {
  test('choose one word, and none again', async () => {
    const onselect = vi.fn();
    render(WordChips, { words: [{ text: 'red' }, { text: 'fox' }], onselect, weights: [1, 1.5] });
    await user.click(screen.getByRole('button', { name: 'fox ×1.5' }));
    expect(onselect).toHaveBeenLastCalledWith(1);
    expect(screen.getByRole('button', { pressed: true }).textContent).toContain('fox');
    await user.click(screen.getByRole('button', { pressed: true }));
    expect(onselect).toHaveBeenLastCalledWith(null);
  });
});

describe('ContextRuler', () => {
  test('says how much is taken', () => {
    render(ContextRuler, { count: 30, length: 120 });
    expect(screen.getByRole('meter').getAttribute('aria-valuetext')).toBe('30 of 120 tokens');
    expect(screen.getByText(/25.0% of the context window/)).toBeTruthy();
  });
  test('says how much is too much', () => {
    render(ContextRuler, { count: 150, length: 120 });
    expect(screen.getByText(/30 too many/)).toBeTruthy();
  });
});

describe('MergeReplay', () => {
  test('joins pieces a step at a time', async () => {
    const words = [
      {
        start: 0,
        end: 3,
        pieces: ['c', 'a', 't'],
        steps: [
          { rank: 1, at: 1, piece: 'at' },
          { rank: 4, at: 0, piece: 'cat' },
        ],
      },
    ];
    const onset = vi.fn();
    render(MergeReplay, { words, onset });
    expect(screen.getByText(/3 pieces/)).toBeTruthy();
    screen.getByRole('slider').focus();
    await user.keyboard('{ArrowRight}');
    expect(screen.getByText(/2 pieces/)).toBeTruthy();
    await user.keyboard('{ArrowRight}');
    expect(screen.getByText(/1 pieces: nothing is left to join/)).toBeTruthy();
    expect(onset).toHaveBeenLastCalledWith(2);
  });
});
