/**
 * Trace files: what limner writes down of a run, read without copying. The layout is that of safetensors: eight bytes with
 * the length of a JSON header, the header, the numbers. See `limner/explain/trace.py`, which writes them.
 */

const FORMAT = 'limner-trace';
const VERSION = '1';

export type Kind = 'text' | 'picture' | 'map';
export type Numbers = Uint8Array | Int32Array | Uint16Array | Float32Array;

/** An array as it is kept. Bytes with a scale stand for `byte / 255 * scale`; float16 is kept as its bits. */
export interface Kept {
  readonly name: string;
  readonly dtype: 'BOOL' | 'U8' | 'I32' | 'F16' | 'F32';
  readonly shape: readonly number[];
  readonly data: Numbers;
  readonly scale: number | null;
}

/** What cannot be opened, and why, as a sentence for the reader. */
export class TraceError extends Error {
  override name = 'TraceError';
}

const BYTES = { BOOL: 1, U8: 1, I32: 4, F16: 2, F32: 4 } as const;

// Every half there is, as a float: 256 KB once, and a look-up each instead of arithmetic.
let halves: Float32Array | undefined;
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
/** Numbers from float16 bits. */
export function fromHalves(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, index) => half(index));
  const values = new Float32Array(bits.length);
  for (let index = 0; index < bits.length; index++) values[index] = halves[bits[index]];
  return values;
}

export class Trace<About = Record<string, unknown>> {
  readonly #arrays: Map<string, Kept>;
  readonly #decoded = new Map<string, Float32Array>();

  constructor(
    readonly kind: Kind,
    readonly about: About,
    arrays: Map<string, Kept>,
    /** The file itself, to save it or hand it on. */
    readonly bytes: Uint8Array,
  ) {
    this.#arrays = arrays;
  }

  get names(): string[] {
    return [...this.#arrays.keys()];
  }

  /** Whether this was asked for when the trace was made. */
  has(name: string): boolean {
    return this.#arrays.has(name);
  }

  shape(name: string): readonly number[] {
    return this.kept(name).shape;
  }

  /** An array as it is kept, without a copy. */
  kept(name: string): Kept {
    const found = this.#arrays.get(name);
    if (!found) throw new TraceError(`The trace has no ${name}: it was not asked for when the trace was made.`);
    return found;
  }

  /** An array as numbers: shares and halves are decoded, once. */
  values(name: string): Float32Array | Int32Array | Uint8Array {
    const { data, dtype, scale } = this.kept(name);
    if (dtype !== 'F16' && scale === null) return data as Float32Array | Int32Array | Uint8Array;
    let decoded = this.#decoded.get(name);
    if (!decoded) {
      if (dtype === 'F16') decoded = fromHalves(data as Uint16Array);
      else {
        const unit = (scale ?? 0) / 255;
        decoded = Float32Array.from(data, (byte) => byte * unit);
      }
      this.#decoded.set(name, decoded);
    }
    return decoded;
  }

  /** The part of an array at the first indices, as numbers: `row("attention.3", head)` is that head's matrix. */
  row(name: string, ...indices: number[]): Float32Array | Int32Array | Uint8Array {
    const [start, end] = this.#range(name, indices);
    return this.values(name).subarray(start, end);
  }

  /** The same as it is kept: bytes stay bytes, nothing is decoded or copied. */
  rowKept(name: string, ...indices: number[]): Kept {
    const found = this.kept(name);
    const [start, end] = this.#range(name, indices);
    return { ...found, shape: found.shape.slice(indices.length), data: found.data.subarray(start, end) };
  }

  /** One number. */
  at(name: string, ...indices: number[]): number {
    const { data, dtype, scale } = this.kept(name);
    const [start] = this.#range(name, indices);
    if (dtype === 'F16') return half(data[start]);
    return scale === null ? data[start] : (data[start] / 255) * scale;
  }

  #range(name: string, indices: number[]): [number, number] {
    const { shape } = this.kept(name);
    let size = 1;
    for (let axis = indices.length; axis < shape.length; axis++) size *= shape[axis];
    let start = 0;
    indices.forEach((index, axis) => {
      if (!(index >= 0 && index < shape[axis])) {
        throw new TraceError(`The index ${index} is outside axis ${axis} of ${name}, which has ${shape[axis]}.`);
      }
      start = start * shape[axis] + index;
    });
    start *= size;
    return [start, start + size];
  }
}

/**
 * Open a trace file.
 *
 * @param name what a message calls it
 * @throws TraceError: it is cut off, of another version or no trace.
 */
export function readTrace<About = Record<string, unknown>>(
  content: ArrayBuffer | Uint8Array,
  name = 'This file',
): Trace<About> {
  const bytes = content instanceof Uint8Array ? content : new Uint8Array(content);
  const header = readHeader(bytes);
  const noted = header?.['__metadata__'] as Record<string, string> | undefined;
  if (!header || typeof noted !== 'object' || noted === null || noted.format !== FORMAT) {
    throw new TraceError(
      `${name} is no trace: its header is cut off or of another format. Give a file that limner saved.`,
    );
  }
  if (noted.version !== VERSION) {
    throw new TraceError(
      `${name} is a trace of version ${String(noted.version).slice(0, 20)}, but this page reads version ${VERSION}. ` +
        'Make it anew, or open it with the limner that wrote it.',
    );
  }
  const damaged = new TraceError(`${name} is damaged: its numbers are not what its header says. Copy it again.`);
  let said: { kind: Kind; about: About; scales: Record<string, number> };
  try {
    said = JSON.parse(noted.trace);
  } catch {
    throw damaged;
  }
  if (
    !['text', 'picture', 'map'].includes(said.kind) ||
    typeof said.about !== 'object' ||
    typeof said.scales !== 'object'
  ) {
    throw damaged;
  }

  const start = 8 + headerLength(bytes);
  const arrays = new Map<string, Kept>();
  for (const [key, value] of Object.entries(header)) {
    if (key === '__metadata__') continue;
    const { dtype, shape, data_offsets: offsets } = value as { dtype: string; shape: number[]; data_offsets: number[] };
    if (!(dtype in BYTES) || !Array.isArray(shape) || !Array.isArray(offsets)) throw damaged;
    const size = BYTES[dtype as keyof typeof BYTES];
    const count = shape.reduce((product, length) => product * length, 1);
    const [from, to] = offsets;
    if (!(count >= 0) || !(from >= 0) || to - from !== count * size || start + to > bytes.length) throw damaged;
    const data = view(bytes, start + from, count, dtype as keyof typeof BYTES);
    const scale = Object.hasOwn(said.scales, key) ? said.scales[key] : null;
    arrays.set(key, { name: key, dtype: dtype as keyof typeof BYTES, shape, data, scale });
  }
  if (Object.keys(said.scales).some((key) => !arrays.has(key))) throw damaged;
  return new Trace(said.kind, said.about, arrays, bytes);
}

function headerLength(bytes: Uint8Array): number {
  if (bytes.length < 8) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
}

function readHeader(bytes: Uint8Array): Record<string, unknown> | null {
  const length = headerLength(bytes);
  if (length <= 0 || length > bytes.length - 8) return null;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length));
    const header: unknown = JSON.parse(text);
    return typeof header === 'object' && header !== null && !Array.isArray(header)
      ? (header as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function view(bytes: Uint8Array, offset: number, count: number, dtype: keyof typeof BYTES): Numbers {
  const size = BYTES[dtype];
  let buffer = bytes.buffer as ArrayBuffer;
  let at = bytes.byteOffset + offset;
  if (at % size !== 0) {
    // A file whose numbers do not lie where typed arrays need them; limner's do.
    buffer = bytes.slice(offset, offset + count * size).buffer as ArrayBuffer;
    at = 0;
  }
  switch (dtype) {
    case 'BOOL':
    case 'U8':
      return new Uint8Array(buffer, at, count);
    case 'I32':
      return new Int32Array(buffer, at, count);
    case 'F16':
      return new Uint16Array(buffer, at, count);
    case 'F32':
      return new Float32Array(buffer, at, count);
  }
}
