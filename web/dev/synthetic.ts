/**
 * Traces that nobody ran: made from a seed, for tests and the gallery, and never shipped. They go through the bytes of a
 * real file, so whatever shows them has read them as it reads limner's own.
 */

import type { PictureAbout, TextAbout } from '../src/lib/about';
import { readTrace, type Kind, type Trace } from '../src/lib/trace';

/** Numbers from 0 to 1 that a seed decides. Source: Tommy Ettinger's mulberry32, public domain. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = state;
    value = Math.imul(value ^ (value >>> 15), value | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}
export function normal(random: () => number): () => number {
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export type Made = { dtype: 'BOOL' | 'U8' | 'I32' | 'F16' | 'F32'; shape: number[]; values: ArrayLike<number> };
const SIZES = { BOOL: 1, U8: 1, I32: 4, F16: 2, F32: 4 };

/** Bits of a half from a number (rounded to nearest, ties away). */
export function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -24 / 2) return sign;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = Math.round(size / 2 ** (exponent - 10));
  if (exponent === -14 && steps < 1024) return sign | steps;
  return steps === 2048 ? sign | ((exponent + 16) << 10) : sign | ((exponent + 15) << 10) | (steps - 1024);
}

/** A trace file's bytes. */
export function writeTrace(
  kind: Kind | string,
  about: object,
  arrays: Record<string, Made>,
  scales: Record<string, number> = {},
  { version = '1', format = 'limner-trace' } = {},
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = {
    __metadata__: { format, version, trace: JSON.stringify({ kind, about, scales }) },
  };
  // Wide numbers first, so that each lies where a typed array may begin.
  const names = Object.keys(arrays).sort((a, b) => SIZES[arrays[b].dtype] - SIZES[arrays[a].dtype] || (a < b ? -1 : 1));
  let offset = 0;
  for (const name of names) {
    const { dtype, shape } = arrays[name];
    const size = SIZES[dtype] * shape.reduce((product, length) => product * length, 1);
    header[name] = { dtype, shape, data_offsets: [offset, offset + size] };
    offset += size;
  }
  let text = JSON.stringify(header);
  let head = new TextEncoder().encode(text);
  text += ' '.repeat((8 - (head.length % 8)) % 8);
  head = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + head.length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  for (const name of names) {
    const { dtype, values } = arrays[name];
    if (dtype === 'F32') new Float32Array(bytes.buffer, at, values.length).set(values);
    else if (dtype === 'I32') new Int32Array(bytes.buffer, at, values.length).set(values);
    else if (dtype === 'F16') new Uint16Array(bytes.buffer, at, values.length).set(Array.from(values, toHalf));
    else bytes.set(values, at);
    at += values.length * SIZES[dtype];
  }
  return bytes;
}

/** Rows of attention: each head has a habit. Bytes, and the scale that 255 stands for. */
export function syntheticAttention(size: number, layer: number, head: number, random: () => number): Uint8Array {
  const bytes = new Uint8Array(size * size);
  const kind = (layer * 7 + head * 3) % 6;
  const favourites = Array.from({ length: 4 }, () => Math.floor(random() * size));
  const weights = new Float32Array(size);
  for (let query = 0; query < size; query++) {
    let sum = 0;
    for (let key = 0; key <= query; key++) {
      const back = query - key;
      let weight = 0.004 + 0.01 * random();
      if (kind === 0) weight += back === 1 ? 1.5 : 0;
      else if (kind === 1) weight += key === 0 ? 2.5 : 0;
      else if (kind === 2) weight += Math.exp(-back / 4);
      else if (kind === 3) weight += favourites.includes(key) ? 0.8 : 0;
      else if (kind === 4) weight += back % 7 === 0 ? 0.5 : 0;
      else weight += (key === 0 ? 0.6 : 0) + (back === 0 ? 0.4 : 0) + 0.15 * random();
      weights[key] = weight;
      sum += weight;
    }
    for (let key = 0; key <= query; key++) bytes[query * size + key] = Math.round((weights[key] / sum) * 255);
  }
  return bytes;
}

const STORY =
  ' The| curious| cat| climbed| up| the| tall| tree|.| She| wanted| to| see| the| little| bird|,| but| the| bird| flew| away|.|\n|“|Come| back|!”| said| the| cat|.| “|I| only| want| to| play|.”|\n|The| bird| sat| on| a| branch| and| looked| down|.| “|You| have| very| sharp| clau|s|,”| it| said|.';
const ENDINGS =
  ' red| blue| green| dog| house| and| was| ran| happy| the| a| he| his| her| friend| tree| sun| big| small| ball| garden| door| water| up| down| under| over| with| not| so| very| then'.split(
    '|',
  );

export interface TextOptions {
  tokens?: number;
  layers?: number;
  heads?: number;
  seed?: number;
  pieces?: string[];
  attention?: boolean;
}

/** A text trace with everything in it. */
export function textTrace({
  tokens: wanted,
  layers = 4,
  heads = 4,
  seed = 1,
  pieces,
  attention = true,
}: TextOptions = {}): Trace<TextAbout> {
  const random = chance(seed);
  const gauss = normal(random);
  const story = pieces ?? STORY.split('|');
  const count = wanted ?? story.length + 1;
  const texts = Array.from({ length: count }, (_, place) =>
    place === 0 ? '<|story|>' : story[(place - 1) % story.length],
  );
  const vocabulary = [...new Set([...texts, ...ENDINGS])];
  const idOf = new Map(vocabulary.map((text, id) => [text, id]));
  const ids = texts.map((text) => idOf.get(text)!);
  const temperatures = Array.from({ length: 20 }, (_, index) => Number(((index + 1) / 10).toFixed(1)));
  const vocab = vocabulary.length;
  const best = Math.min(64, vocab);

  const logprobs = new Float32Array(count);
  const entropy = new Float32Array(count);
  const candidateIds = new Int32Array(count * best);
  const candidateLogits = new Float32Array(count * best);
  const logsumexp = new Float32Array(count * temperatures.length);
  const last: { id: number; logit: number }[][] = [];
  for (let place = 0; place < count; place++) {
    const follows = ids[place + 1];
    const scores = vocabulary.map((_, id) => ({
      id,
      logit: gauss() * 2.2 + (id === follows ? 1.5 + 4 * random() : 0),
    }));
    scores.sort((a, b) => b.logit - a.logit);
    last.push(scores);
    scores.slice(0, best).forEach(({ id, logit }, rank) => {
      candidateIds[place * best + rank] = id;
      candidateLogits[place * best + rank] = logit;
    });
    temperatures.forEach((heat, index) => {
      const top = scores[0].logit / heat;
      logsumexp[place * temperatures.length + index] =
        top + Math.log(scores.reduce((sum, { logit }) => sum + Math.exp(logit / heat - top), 0));
    });
    const sum = logsumexp[place * temperatures.length + 9];
    entropy[place] = -scores.reduce(
      (total, { logit }) => total + (Math.exp(logit - sum) * (logit - sum)) / Math.LN2,
      0,
    );
    if (place + 1 < count) logprobs[place + 1] = scores.find(({ id }) => id === follows)!.logit - sum;
  }

  const arrays: Record<string, Made> = {
    ids: { dtype: 'I32', shape: [count], values: ids },
    logprobs: { dtype: 'F32', shape: [count], values: logprobs },
    entropy: { dtype: 'F32', shape: [count], values: entropy },
    'candidates.ids': { dtype: 'I32', shape: [count, best], values: candidateIds },
    'candidates.logits': { dtype: 'F32', shape: [count, best], values: candidateLogits },
    logsumexp: { dtype: 'F32', shape: [count, temperatures.length], values: logsumexp },
  };
  const scales: Record<string, number> = {};
  for (let layer = 0; layer < layers && attention; layer++) {
    const values = new Uint8Array(heads * count * count);
    for (let head = 0; head < heads; head++)
      values.set(syntheticAttention(count, layer, head, random), head * count * count);
    arrays[`attention.${layer}`] = { dtype: 'U8', shape: [heads, count, count], values };
    scales[`attention.${layer}`] = 1;
    const lengths = Float32Array.from({ length: heads * count }, () => Math.abs(gauss()) * (1 + layer));
    arrays[`attention_output.${layer}`] = { dtype: 'F16', shape: [heads, count], values: lengths };
  }
  const parts = 2 * layers + 1;
  const filled = (length: number, make: (index: number) => number): Float32Array =>
    Float32Array.from({ length }, (_, index) => make(index));
  arrays['stream.norm'] = {
    dtype: 'F32',
    shape: [parts, count],
    values: filled(parts * count, (index) => 2 + Math.abs(gauss()) + Math.floor(index / count) * 0.7),
  };
  arrays['stream.length'] = {
    dtype: 'F32',
    shape: [layers + 1, count],
    values: filled((layers + 1) * count, (index) => 3 + 2.5 * Math.floor(index / count) + random()),
  };
  arrays['ledger.logit'] = {
    dtype: 'F32',
    shape: [count, parts + 1],
    values: filled(count * (parts + 1), (index) => gauss() * (0.4 + (index % (parts + 1)) * 0.25)),
  };
  arrays['ledger.heads'] = {
    dtype: 'F32',
    shape: [count, layers, heads],
    values: filled(count * layers * heads, () => gauss() * 0.5),
  };

  const lensIds = new Int32Array((layers + 1) * count * 5);
  const lensLogprobs = new Float32Array((layers + 1) * count * 5);
  const actual = new Float32Array((layers + 1) * count);
  for (let layer = 0; layer <= layers; layer++) {
    for (let place = 0; place < count; place++) {
      const sure = layer / layers;
      let left = 1;
      for (let rank = 0; rank < 5; rank++) {
        const at = (layer * count + place) * 5 + rank;
        lensIds[at] = random() < sure ? last[place][rank].id : Math.floor(random() * vocab);
        const share = left * (0.15 + 0.5 * sure * random());
        left -= share;
        lensLogprobs[at] = Math.log(share);
      }
      actual[layer * count + place] = -9 * (1 - sure) - 2 * random();
    }
  }
  arrays['lens.ids'] = { dtype: 'I32', shape: [layers + 1, count, 5], values: lensIds };
  arrays['lens.logprobs'] = { dtype: 'F32', shape: [layers + 1, count, 5], values: lensLogprobs };
  arrays['lens.actual'] = { dtype: 'F32', shape: [layers + 1, count], values: actual };
  arrays['neurons.ids'] = {
    dtype: 'I32',
    shape: [layers, count, 8],
    values: filled(layers * count * 8, () => Math.floor(random() * 512)),
  };
  arrays['neurons.values'] = {
    dtype: 'F16',
    shape: [layers, count, 8],
    values: filled(layers * count * 8, (index) => (4 - 0.4 * (index % 8)) * (0.6 + random())),
  };
  arrays['states.map'] = {
    dtype: 'F16',
    shape: [layers + 1, count, 2],
    values: filled((layers + 1) * count * 2, () => gauss() * 3),
  };
  if (attention) {
    arrays.rollout = { dtype: 'U8', shape: [count, count], values: syntheticAttention(count, 2, 0, random) };
    scales.rollout = 1;
  }

  const about: TextAbout = {
    model: {
      name: 'synthetic',
      sha256: '',
      family: 'decoder',
      parameters: 1_234_567,
      layers,
      heads,
      kv_heads: heads,
      dim: heads * 32,
      vocab_size: vocab,
      context_length: 512,
      positions: 'rotary',
      dtype: 'float32',
      device: 'cpu',
      checkpoint: 12000,
    },
    run: {
      prompt: ' The curious cat climbed',
      seed: 7,
      settings: { temperature: 0.8, top_k: 0, top_p: 0.95, max_tokens: 64 },
      finish: 'length',
      text: texts.slice(5).join(''),
    },
    tokens: texts.map((text, place) => ({ id: ids[place], text, special: place === 0, written: place > 4 })),
    replay: { largest_difference: 0.0000312, agreement: 1, tokens: count - 5 },
    changes: [],
    temperatures,
    texts: Object.fromEntries(vocabulary.map((text, id) => [id, text])),
  };
  return readTrace<TextAbout>(writeTrace('text', about, arrays, scales));
}

/** A picture trace: a disc with a hat that comes out of noise. */
export function pictureTrace({
  looks = 12,
  size = 96,
  rows = 8,
  layers = 4,
  heads = 4,
  seed = 1,
} = {}): Trace<PictureAbout> {
  const random = chance(seed);
  const gauss = normal(random);
  const words = ['a', 'red', 'fox', 'with', 'a', 'blue', 'hat'];
  const clean = new Float32Array(size * size * 3);
  const where = new Uint8Array(rows * rows); // 1: body, 2: hat
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [u, v] = [x / size - 0.5, y / size - 0.58];
      const body = u * u + v * v < 0.075;
      const hat = Math.abs(u) < 0.16 + (v + 0.38) * 0.3 && v > -0.46 && v < -0.24;
      const colour = hat ? [0.16, 0.34, 0.8] : body ? [0.82, 0.3, 0.16] : [0.93, 0.9 - 0.1 * v, 0.78];
      for (let channel = 0; channel < 3; channel++) clean[(y * size + x) * 3 + channel] = colour[channel];
      const patch = Math.floor((y / size) * rows) * rows + Math.floor((x / size) * rows);
      if (hat) where[patch] = 2;
      else if (body && where[patch] !== 2) where[patch] = 1;
    }
  }
  const noise = Float32Array.from(clean, () => gauss());
  const byte = (value: number): number => Math.max(0, Math.min(255, Math.round(value * 255)));
  const given = new Uint8Array(looks * clean.length);
  const seen = new Uint8Array(looks * clean.length);
  const listed: PictureAbout['looks'] = [];
  const shares = new Uint8Array(looks * words.length * rows * rows);
  for (let look = 0; look < looks; look++) {
    const time = 1 - look / looks;
    const [alpha, sigma] = [Math.cos((time * Math.PI) / 2), Math.sin((time * Math.PI) / 2)];
    listed.push({ number: look, time, alpha, sigma });
    const soft = 0.15 + 0.85 * (look / (looks - 1)) ** 0.7;
    for (let index = 0; index < clean.length; index++) {
      given[look * clean.length + index] = byte(0.5 + alpha * (clean[index] - 0.5) + sigma * noise[index] * 0.35);
      seen[look * clean.length + index] = byte(0.75 + soft * (clean[index] - 0.75) + (1 - soft) * 0.03 * noise[index]);
    }
    words.forEach((word, w) => {
      for (let patch = 0; patch < rows * rows; patch++) {
        const wanted = word === 'hat' || word === 'blue' ? 2 : word === 'fox' || word === 'red' ? 1 : 0;
        const strength = where[patch] === wanted && wanted > 0 ? soft : 0.05;
        shares[(look * words.length + w) * rows * rows + patch] = byte(Math.min(1, strength * (0.7 + 0.3 * random())));
      }
    });
  }
  const detailed = [0, Math.floor(looks / 2), looks - 1];
  const perHead = new Uint8Array(detailed.length * layers * heads * words.length * rows * rows);
  for (let index = 0; index < perHead.length; index++) perHead[index] = Math.floor(random() * 255);
  const frame = clean.length;
  const about: PictureAbout = {
    model: {
      name: 'synthetic-painter',
      sha256: '',
      parameters: 9_876_543,
      layers,
      heads,
      dim: 128,
      size: [size, size],
      latent: false,
      multiple: size / rows,
      predict: 'picture',
      process: 'flow',
      dtype: 'float32',
      device: 'cpu',
    },
    settings: {
      prompt: 'a red fox with a blue hat',
      seed: 3,
      steps: looks,
      guidance: 3,
      sampler: 'euler',
      width: size,
      height: size,
    },
    words: words.map((text, index) => ({ text, places: [index] })),
    tokens: words.map((text, id) => ({ id, text })),
    notes: [],
    looks: listed,
    grid: [rows, rows],
    replay: { largest_difference: 0.0021, mean_difference: 0.0004, looks },
    changes: [],
    detailed,
  };
  const arrays: Record<string, Made> = {
    picture: { dtype: 'U8', shape: [size, size, 3], values: Uint8Array.from(clean, byte) },
    given: { dtype: 'U8', shape: [looks, size, size, 3], values: given },
    seen: { dtype: 'U8', shape: [looks, size, size, 3], values: seen },
    latents: { dtype: 'F16', shape: [looks, 3, 8, 8], values: Float32Array.from({ length: looks * 192 }, gauss) },
    words: { dtype: 'U8', shape: [looks, words.length, rows, rows], values: shares },
    'words.layer_head': {
      dtype: 'U8',
      shape: [detailed.length, layers, heads, words.length, rows, rows],
      values: perHead,
    },
    guidance: {
      dtype: 'F16',
      shape: [looks, rows, rows],
      values: Float32Array.from(
        { length: looks * rows * rows },
        (_, index) => (where[index % (rows * rows)] + 0.3) * random(),
      ),
    },
    with_prompt: {
      dtype: 'U8',
      shape: [detailed.length, size, size, 3],
      values: detailed.flatMap((look) => [...seen.subarray(look * frame, (look + 1) * frame)]),
    },
    without_prompt: {
      dtype: 'U8',
      shape: [detailed.length, size, size, 3],
      values: detailed.flatMap((look) =>
        [...seen.subarray(look * frame, (look + 1) * frame)].map((value) => Math.round(value * 0.6 + 90)),
      ),
    },
  };
  return readTrace<PictureAbout>(writeTrace('picture', about, arrays, { words: 0.6, 'words.layer_head': 1 }));
}

/** A cloud of words in clusters, for the map. */
export function wordMap(count: number, seed = 1): { points: Float32Array; words: string[]; groups: Uint8Array } {
  const random = chance(seed);
  const gauss = normal(random);
  const centres = Array.from({ length: 7 }, () => [gauss() * 6, gauss() * 6]);
  const points = new Float32Array(count * 2);
  const groups = new Uint8Array(count);
  const words: string[] = [];
  const syllables = 'ka lo mi ra te su no vi pa du en or sha li'.split(' ');
  for (let index = 0; index < count; index++) {
    const group = Math.floor(random() * centres.length);
    groups[index] = group;
    points[2 * index] = centres[group][0] + gauss() * 2.2;
    points[2 * index + 1] = centres[group][1] + gauss() * 2.2;
    words.push(
      Array.from(
        { length: 1 + Math.floor(random() * 3) },
        () => syllables[Math.floor(random() * syllables.length)],
      ).join(''),
    );
  }
  return { points, words, groups };
}
