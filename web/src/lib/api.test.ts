import { afterEach, describe, expect, test, vi } from 'vitest';

import { textTrace } from '../../dev/synthetic';
import { api, ApiError, messages } from './api';

const streamOf = (...chunks: (string | Uint8Array)[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks)
        controller.enqueue(typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk);
      controller.close();
    },
  });
const all = async <T>(values: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
};
const answer = (response: Response | Error): ReturnType<typeof vi.fn> => {
  const asked = vi.fn(async () => {
    if (response instanceof Error) throw response;
    return response;
  });
  vi.stubGlobal('fetch', asked);
  return asked;
};
afterEach(() => {
  vi.unstubAllGlobals();
});

describe('server-sent events', () => {
  test('come out however they are cut', async () => {
    const text = ': hello\r\n\r\nevent: token\ndata: {"text": "é猫"}\n\nevent: done\r\ndata: 1\r\ndata: 2\r\n\r\n';
    const bytes = new TextEncoder().encode(text);
    for (const size of [1, 2, 3, 7, 1000]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.slice(index * size, (index + 1) * size),
      );
      expect(await all(messages(streamOf(...chunks)))).toEqual([
        { event: 'token', data: '{"text": "é猫"}' },
        { event: 'done', data: '1\n2' },
      ]);
    }
  });

  test('that are not finished are left out', async () => {
    expect(await all(messages(streamOf('event: token\ndata: 1\n\nevent: token\ndata: 2')))).toEqual([
      { event: 'token', data: '1' },
    ]);
  });

  test('are given up when nobody listens any more', async () => {
    const cancel = vi.fn();
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode('data: 1\n\n'));
      },
      cancel,
    });
    for await (const message of messages(stream)) {
      expect(message.data).toBe('1');
      break;
    }
    await vi.waitFor(() => expect(cancel).toHaveBeenCalled());
  });
});

describe('the server', () => {
  test('is asked in JSON', async () => {
    const asked = answer(Response.json({ tokenizers: [] }));
    await api.tokens({ text: 'a', models: ['story'] });
    expect(asked.mock.calls[0][0]).toBe('/api/tokens');
    expect(JSON.parse(asked.mock.calls[0][1].body)).toEqual({ text: 'a', models: ['story'] });
  });

  test('says what is wrong in a sentence', async () => {
    answer(Response.json({ error: 'text is 9 characters long, but … Shorten it.' }, { status: 400 }));
    await expect(api.models()).rejects.toThrow(new ApiError('text is 9 characters long, but … Shorten it.', 400));
    answer(new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
    await expect(api.models()).rejects.toThrow('The studio answered 502 Bad Gateway.');
    answer(new TypeError('failed to fetch'));
    await expect(api.models()).rejects.toThrow('Is `limner studio` still running?');
  });

  test('streams a text, and an error in the middle ends it', async () => {
    answer(
      new Response(
        streamOf(
          'event: waiting\ndata: {"ahead": 1}\n\nevent: token\ndata: {"id": 1, "text": "a", "logprob": -1, "candidates": []}\n\nevent: error\ndata: {"error": "The model is gone."}\n\n',
        ),
      ),
    );
    const seen: string[] = [];
    await expect(
      (async () => {
        for await (const message of api.write({ model: 'story', prompt: 'x' })) seen.push(message.event);
      })(),
    ).rejects.toThrow('The model is gone.');
    expect(seen).toEqual(['waiting', 'token']);
  });

  test('sends a trace as it is in its file', async () => {
    const made = textTrace({ tokens: 6, layers: 1, heads: 1 });
    answer(new Response(made.bytes as Uint8Array<ArrayBuffer>));
    const trace = await api.trace<{ model: { name: string } }>('a b');
    expect(trace.about.model.name).toBe('synthetic');
    expect(trace.names).toEqual(made.names);
  });

  test('is given up without a complaint of its own', async () => {
    const leaving = new AbortController();
    leaving.abort();
    const abort = new Error('gone');
    answer(abort);
    await expect(api.models(leaving.signal)).rejects.toBe(abort);
  });
});
