/**
 * The next token's chances under any temperature, top-k and top-p, from the best candidates alone: with the logarithm of
 * the sum over the whole vocabulary (kept for twenty temperatures) they are exact. The order is that of
 * `limner.text.sampling`: temperature, top-k, top-p; what is exactly as likely as the last one kept is kept too.
 */

export interface Known {
  /** Best first. */
  logits: ArrayLike<number>;
  /** Log Σ exp(logit / temperature) over the vocabulary, for each of `temperatures`. */
  logsumexp: ArrayLike<number>;
  temperatures: readonly number[];
  vocab_size: number;
}
export interface Filters {
  temperature: number;
  /** 0: no limit. */
  topK: number;
  /** 1: no limit. */
  topP: number;
}
export interface Chances {
  /** Of each candidate after the filters; 0 for what was taken out. */
  chance: Float64Array;
  /** Before the filters, at this temperature. */
  before: Float64Array;
  /** How many tokens are kept; null: more than the candidates that are known, how many is not. */
  kept: number | null;
  /** Probability, before the filters, of all that is no candidate. */
  rest: number;
  /** Whether `chance` is exact. Otherwise it may be too large, by less than this share of itself. */
  within: number;
}

/** The known temperature nearest to the one asked for. */
export function nearest(temperatures: readonly number[], wanted: number): number {
  let best = 0;
  temperatures.forEach((value, index) => {
    if (Math.abs(value - wanted) < Math.abs(temperatures[best] - wanted)) best = index;
  });
  return best;
}

export function chances(known: Known, { temperature, topK, topP }: Filters): Chances {
  const index = nearest(known.temperatures, temperature);
  const [heat, sum] = [known.temperatures[index], known.logsumexp[index]];
  const count = known.logits.length;
  const before = Float64Array.from({ length: count }, (_, place) => Math.exp(known.logits[place] / heat - sum));
  let held = 0;
  for (const value of before) held += value;
  const rest = count >= known.vocab_size ? 0 : Math.max(0, 1 - held);

  let kept: number | null = count + (rest > 0 ? known.vocab_size - count : 0);
  let within = 0;
  let size = count; // of the candidates, how many are left
  let mass = 1; // that is shared out among all that is left
  if (topK > 0 && topK <= count) {
    size = topK;
    while (size < count && known.logits[size] === known.logits[topK - 1]) size++; // as likely as the last one
    mass = 0;
    for (let place = 0; place < size; place++) mass += before[place];
    kept = size;
  }
  if (topP < 1) {
    const whole = mass;
    let sofar = 0;
    let last = 0;
    while (last < size && sofar / whole < topP) sofar += before[last++];
    last = Math.max(last, 1);
    while (last < size && known.logits[last] === known.logits[last - 1]) sofar += before[last++];
    if (last === 1) sofar = before[0];
    if (sofar / whole >= topP || kept === size || rest === 0) {
      size = kept = last;
      mass = sofar;
    } else {
      // The nucleus reaches beyond the candidates. Its probability is p and at most one unlikely token more.
      kept = null;
      mass = topP;
      within = before[count - 1] / topP;
    }
  }
  const chance = new Float64Array(count);
  for (let place = 0; place < size; place++) chance[place] = before[place] / mass;
  return { chance, before, kept, rest, within };
}
