import { cleanup, fireEvent, render, screen, within } from '@testing-library/svelte';
import { userEvent } from '@testing-library/user-event';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import { address } from '../lib/address.svelte';
import { PAGES } from '../studio/pages';
import App from '../studio/App.svelte';
import Home from './Home.svelte';
import Tokens from './Tokens.svelte';

const user = userEvent.setup();
const models = [
  {
    name: 'story',
    path: '/m/story',
    kind: 'text generator',
    parameters: 5770000,
    bytes: 12e6,
    context: 256,
    pixels: null,
    licence: 'Apache-2.0',
    trained_on: '',
    problem: null,
  },
  {
    name: 'broken',
    path: '/m/broken',
    kind: 'text generator',
    parameters: 0,
    bytes: 10,
    context: 0,
    pixels: null,
    licence: '',
    trained_on: '',
    problem: 'damaged: model.safetensors is cut off.',
  },
];
const run = {
  n: 'first',
  name: 'first',
  path: 'runs/first',
  kind: 'text',
  model: null,
  state: 'running',
  finished: false,
  step: 1200,
  steps: 5000,
  minutes: null,
  loss: 2,
  best: 1.875,
  checkpoints: [],
  changed: Date.now() / 1000,
};
const tokenized = (text: string, model: string): object => ({
  model,
  kind: 'byte-bpe',
  vocab_size: 4096,
  context_length: 256,
  opening: ['<|end|>'],
  tokens: [...text].map((character, at) => ({
    id: character.codePointAt(0),
    text: character,
    bytes: [...new TextEncoder().encode(character)],
    start: at,
    end: at + 1,
  })),
  merges: [],
});

const kept = { id: 'made', kind: 'picture', title: 'a fox', model: 'picturebook', seed: 4 };

let asked: { path: string; method: string; body: unknown }[] = [];
let answers: Record<string, (body: Record<string, unknown>) => Response>;
beforeEach(() => {
  asked = [];
  answers = {
    '/api/about': () =>
      Response.json({
        version: '0.1.0',
        machine: { torch: '2', device: 'cpu', cores: 1, memory: 8e9 },
        limits: { characters: 20000, trace_bytes: 1e6 },
        runs: 'runs',
      }),
    '/api/models': () => Response.json({ models }),
    '/api/runs': () => Response.json({ runs: [run] }),
    '/api/examples': () =>
      Response.json({ examples: [{ id: 'cat', title: 'The curious cat', kind: 'text', bytes: 165000 }] }),
    '/api/tokens': (body) =>
      Response.json({ tokenizers: (body.models as string[]).map((model) => tokenized(body.text as string, model)) }),
    '/api/traces': () => Response.json({ trace: 'mine', traces: [kept] }), // asked for the list, or given a file
  };
  vi.stubGlobal('fetch', async (path: string, options: RequestInit) => {
    const body = typeof options.body === 'string' ? (JSON.parse(options.body) as Record<string, unknown>) : {};
    asked.push({ path, method: options.method ?? 'GET', body });
    return answers[path](body);
  });
  address.go('home');
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});
const drop = (name: string, content: Uint8Array): Promise<boolean> =>
  fireEvent.drop(document, {
    dataTransfer: { files: [{ name, size: content.length, arrayBuffer: async () => content.slice().buffer }] },
  });

describe('Home', () => {
  test('has models, runs and examples, each with the way to it', async () => {
    render(Home);
    expect((await screen.findByRole('link', { name: /The curious cat/ })).getAttribute('href')).toBe(
      '#/text?trace=cat',
    );
    expect((await screen.findByRole('link', { name: 'Write with story' })).getAttribute('href')).toBe(
      '#/text?model=story',
    );
    expect((await screen.findByRole('link', { name: 'Look at the run first' })).getAttribute('href')).toBe(
      '#/training?run=first',
    );
    expect(screen.getByText(/step 1,200 of 5,000 · best loss 1.88/)).toBeTruthy();
  });

  test('says what is wrong with a model, and offers nothing with it', async () => {
    render(Home);
    expect(await screen.findByText('damaged: model.safetensors is cut off.')).toBeTruthy();
    expect(screen.queryByRole('link', { name: /broken/ })).toBeNull();
  });

  test('lists what was made since the studio was started', async () => {
    render(Home);
    const link = await screen.findByRole('link', { name: 'a fox' });
    expect(link.getAttribute('href')).toContain('picture?trace=made');
    expect(link.parentElement?.textContent).toContain('picturebook · seed 4');
  });

  test('opens a trace file that is dropped on it', async () => {
    render(Home);
    await screen.findByText(/limner 0.1.0/);
    await drop('a.trace', textTrace({ tokens: 6, layers: 1, heads: 1 }).bytes);
    await vi.waitFor(() => expect(address.page).toBe('text'));
    expect(address.get('trace')).toBe('mine');
  });

  test('says why it does not open a file, and sends nothing', async () => {
    render(Home);
    await screen.findByText(/limner 0.1.0/);
    await drop('cat.png', new Uint8Array([137, 80, 78, 71]));
    expect((await screen.findByRole('alert')).textContent).toContain('cat.png is no trace');
    await drop('large.trace', new Uint8Array(1e6 + 1));
    await vi.waitFor(() => expect(screen.getByRole('alert').textContent).toContain('large.trace is 1.0 MB large'));
    expect(asked.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  test('says when the studio does not answer', async () => {
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('failed');
    });
    render(Home);
    expect((await screen.findByRole('alert')).textContent).toContain('Is `limner studio` still running?');
  });
});

describe('Tokens', () => {
  test('shows a text through the tokenizers in its address', async () => {
    address.go('tokens', { text: 'ab 猫', models: 'story' });
    render(Tokens);
    const list = await screen.findByRole('listbox', { name: 'Tokens of story' });
    expect(within(list).getAllByRole('option')).toHaveLength(4);
    expect(screen.getByText('4 characters, 6 bytes in UTF-8')).toBeTruthy();
    expect(screen.getByRole('meter').getAttribute('aria-valuenow')).toBe('5'); // and the one before them
  });

  test('tells a token’s id and bytes, and keeps it in the address', async () => {
    address.go('tokens', { text: 'a猫', models: 'story' });
    render(Tokens);
    await user.click(await screen.findByRole('option', { name: '猫' }));
    expect(address.number('token', -1)).toBe(1);
    expect(await screen.findByText('E7 8C AB')).toBeTruthy();
    await user.click(screen.getByRole('radio', { name: 'Ids' }));
    expect(address.get('as')).toBe('ids');
    expect(screen.getAllByRole('option').map((option) => option.textContent!.trim())).toEqual(['97', '29483']);
  });

  test('asks while one types, but not at every key', async () => {
    address.go('tokens', { text: '', models: 'story' });
    render(Tokens);
    expect(await screen.findByText('An empty text has no tokens.')).toBeTruthy();
    const before = asked.length;
    await user.type(screen.getByRole('textbox'), 'hello');
    await vi.waitFor(() => expect(screen.getAllByRole('option')).toHaveLength(5), 5000);
    expect(asked.length - before).toBeLessThan(4);
    expect(address.get('text')).toBe('hello');
  });

  test('shows the studio’s refusal', async () => {
    answers['/api/tokens'] = () =>
      Response.json({ error: 'text is 100,000 characters long, but … Shorten it.' }, { status: 400 });
    address.go('tokens', { text: 'x', models: 'story' });
    render(Tokens);
    expect((await screen.findByRole('alert')).textContent).toContain('text is 100,000 characters long');
  });
});

describe('the studio', () => {
  test('has every page in its menu, and goes to them', async () => {
    render(App);
    const menu = screen.getByRole('navigation', { name: 'Pages' });
    expect(
      within(menu)
        .getAllByRole('link')
        .map((link) => link.textContent),
    ).toEqual(PAGES.map((page) => page.title));
    expect(await screen.findByRole('heading', { level: 1 })).toBeTruthy();
    address.go('tokens');
    expect(await screen.findByRole('heading', { level: 1, name: 'Tokens' })).toBeTruthy();
    expect(within(menu).getByRole('link', { current: 'page' }).textContent).toBe('Tokens');
    expect(document.title).toBe('Tokens · limner studio');
  });

  test('says when there is no such page', async () => {
    address.go('nowhere');
    render(App);
    expect(await screen.findByRole('heading', { name: 'There is no page “nowhere”' })).toBeTruthy();
  });
});
