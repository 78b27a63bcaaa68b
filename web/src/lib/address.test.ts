import { beforeEach, describe, expect, test, vi } from 'vitest';

import { address, href, understand } from './address.svelte';

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe('an address', () => {
  test.each([
    ['text', { text: 'a & b = 猫 #1?', token: 3 }],
    ['tokens', { text: '', models: 'a,b' }],
    ['home', {}],
  ])('of %s says what it was made from', (page, values) => {
    const found = understand(href(page, values));
    expect(found.page).toBe(page);
    expect(found.values).toEqual(
      Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)])),
    );
  });

  test('that is broken is still one', () => {
    expect(understand('#/%').page).toBe('%');
    expect(understand('').page).toBe('');
  });
});

describe('the page’s own', () => {
  beforeEach(async () => {
    window.location.hash = '';
    await settle(); // the browser tells of it a little later
    address.go('text', { model: 'story' });
  });

  test('changes with its values, and null takes one out', () => {
    address.set({ token: 3 });
    expect(window.location.hash).toBe('#/text?model=story&token=3');
    expect(address.number('token', 0)).toBe(3);
    address.set({ token: null });
    expect(window.location.hash).toBe('#/text?model=story');
    expect(address.number('token', -1)).toBe(-1);
  });

  test('comes back with the browser’s button', async () => {
    address.set({ token: 1 });
    address.set({ token: 2 });
    history.back();
    await vi.waitFor(() => expect(address.get('token')).toBe('1'));
  });

  test('does not make a step of each move of a slider', async () => {
    const before = history.length;
    for (let heat = 0; heat < 50; heat++) address.set({ heat }, { replace: true });
    expect(address.number('heat', 0)).toBe(49);
    await vi.waitFor(() => expect(window.location.hash).toContain('heat=49'));
    expect(history.length).toBe(before);
  });

  test('takes what is no number for what is not there', async () => {
    window.location.hash = '#/text?token=abc';
    await vi.waitFor(() => expect(address.get('token')).toBe('abc'));
    expect(address.number('token', 5)).toBe(5);
    await settle();
  });
});
