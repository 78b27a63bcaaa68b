import { cleanup, render, screen } from '@testing-library/svelte';
import { userEvent } from '@testing-library/user-event';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { textTrace } from '../../../dev/synthetic';
import BeforeAfter from '../../components/BeforeAfter.svelte';
import CausalGrid from '../../components/CausalGrid.svelte';
import { changeAt, columnsOf, readChanges, toggled } from './changes';
import { candidatesFor, glances, itemsOf, ledgerFor, rankOf, surpriseOf } from './numbers';
import { readBranches, writeBranches } from './runs.svelte';

afterEach(cleanup);
const user = userEvent.setup();

describe('branches in an address', () => {
  test('are read as they are written', () => {
    const leaves = [
      { from: 0, place: 12, id: 345 },
      { from: 1, place: 20, id: 7 },
    ];
    expect(readBranches(writeBranches(leaves))).toEqual(leaves);
  });
  test('that leave what is not there, or are none, are left out', () => {
    expect(readBranches('')).toEqual([]);
    expect(readBranches('0.1_x.2.3_0.1.2.3_5.1.2_0.4.9')).toEqual([{ from: 0, place: 4, id: 9 }]);
  });
});

describe('changes in an address', () => {
  test('are read as they are written', () => {
    const changes = [
      { kind: 'head_off', layer: 2, head: 1 },
      { kind: 'patch', name: 'layer.1.residual', source: '</script>', place: 3, from: 0 },
      { kind: 'steer', layer: 0, towards: 'a', away: 'b', strength: -1.5 },
      { kind: 'positions_off' },
    ];
    expect(readChanges(JSON.stringify(changes))).toEqual(changes);
  });
  test.each([
    '',
    '{',
    'null',
    '[1]',
    '[{"kind":"head_off","layer":-1,"head":0}]',
    '[{"kind":"head_off"}]',
    '[{"kind":"x"}]',
  ])('that are none are left out: %s', (said) => expect(readChanges(said)).toEqual([]));
  test('are put in and taken out again', () => {
    const off = changeAt(2, 1, 4);
    expect(toggled([], off)).toEqual([{ kind: 'head_off', layer: 2, head: 1 }]);
    expect(toggled([off], changeAt(2, 1, 4))).toEqual([]);
    expect(changeAt(0, 4, 4).kind).toBe('attention_off');
    expect(changeAt(0, 5, 4).kind).toBe('feed_forward_off');
    expect(columnsOf(2).map((column) => column.short)).toEqual(['0', '1', 'all', 'ff']);
  });
});

describe('what a token came from', () => {
  const trace = textTrace({ tokens: 8, layers: 2, heads: 2 });

  test('stands at the token before it; the last item is the one to come', () => {
    expect(itemsOf(trace).length).toBe(9);
    expect(candidatesFor(trace, 0)).toBeNull();
    const found = candidatesFor(trace, 3)!;
    expect(found.actual).toBe(trace.about.tokens[3].id);
    expect(Array.from(found.known.logits)).toEqual(Array.from(trace.row('candidates.logits', 2)));
    const next = candidatesFor(trace, 8)!;
    expect(next.actual).toBeNull();
    expect(rankOf(next)).toBeNull();
    const bits = surpriseOf(trace)!;
    expect(bits[0]).toBeNaN();
    expect(bits[8]).toBeNaN();
    expect(bits[3]).toBeCloseTo(-trace.at('logprobs', 3) / Math.LN2, 5);
  });
  test('is a sum of what the parts gave', () => {
    const parts = ledgerFor(trace, 3)!;
    const sum = parts.reduce((total, part) => total + part.value, 0);
    expect(sum).toBeCloseTo(
      Array.from(trace.row('ledger.logit', 2)).reduce((total, value) => total + value, 0),
      3,
    );
    expect(parts[1].parts?.length).toBe(2);
    expect(ledgerFor(trace, 0)).toBeNull();
  });
  test('is looked at by heads, the strongest first, never the token itself', () => {
    const found = glances(trace, 5, 10);
    expect(found.length).toBe(4);
    expect(
      found.every((glance, index) => glance.key !== 5 && (index === 0 || glance.share <= found[index - 1].share)),
    ).toBe(true);
  });
});

describe('CausalGrid with parts to switch off', () => {
  const change = [
    [0.1, -0.2],
    [0, 0.05],
  ];
  test('is switched by Enter, not by going there', async () => {
    const ontoggle = vi.fn();
    render(CausalGrid, { change, ontoggle, columns: columnsOf(0), off: (layer, head) => layer === 0 && head === 1 });
    screen.getByRole('grid').focus();
    await user.keyboard('{ArrowDown}{ArrowRight}');
    expect(ontoggle).not.toHaveBeenCalled();
    await user.keyboard('{Enter}');
    expect(ontoggle).toHaveBeenCalledExactlyOnceWith({ layer: 0, head: 1 });
    expect(screen.getByRole('gridcell', { name: 'layer 0, feed-forward: −20 points; switched off' })).toBeTruthy();
  });
  test('is switched by a click', async () => {
    const ontoggle = vi.fn();
    render(CausalGrid, { change, ontoggle });
    await user.click(screen.getByRole('gridcell', { name: /^layer 1, head 1/ }));
    expect(ontoggle).toHaveBeenCalledExactlyOnceWith({ layer: 1, head: 1 });
  });
});

describe('BeforeAfter', () => {
  const before = [
    { id: 1, text: ' was', probability: 0.8 },
    { id: 2, text: ' is', probability: 0.1 },
  ];
  const after = [
    { id: 3, text: ' ran', probability: 0.5 },
    { id: 1, text: ' was', probability: 0.3 },
  ];
  test('has each token once, and says what is only known to be less', () => {
    render(BeforeAfter, { before, after });
    const rows = screen.getAllByRole('listitem').map((row) => row.textContent!.replace(/\s+/g, ' ').replace('→', ''));
    expect(rows.length).toBe(3);
    expect(rows[0]).toContain('before 80.0%');
    expect(rows[0]).toContain('after 30.0%');
    expect(rows[1]).toContain('before < 10.0%');
    expect(rows[2]).toContain('after < 30.0%');
  });
  test('lets a token be chosen', async () => {
    const onchoose = vi.fn();
    render(BeforeAfter, { before, after, onchoose, marked: 1 });
    expect(screen.getByRole('button', { pressed: true }).textContent).toContain('was');
    await user.click(screen.getAllByRole('button')[1]);
    expect(onchoose).toHaveBeenCalledWith({ id: 3, text: ' ran' });
  });
});
