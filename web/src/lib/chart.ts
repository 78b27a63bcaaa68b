/** Lines of many points, brought down to what a screen can show. */

export interface Point {
  step: number;
  value: number;
}

/**
 * At most two points a pixel: of what falls into each the least and the most, so that no spike is lost. Points come in the
 * order of their steps; values that are no numbers are left out.
 */
export function decimate(points: readonly Point[], pixels: number): Point[] {
  const sound = points.filter((point) => Number.isFinite(point.value));
  if (sound.length <= 2 * pixels) return sound;
  const [first, last] = [sound[0].step, sound[sound.length - 1].step];
  const kept: Point[] = [];
  let bin = 0;
  let [least, most]: [Point | null, Point | null] = [null, null];
  const flush = (): void => {
    if (!least || !most) return;
    if (least === most) kept.push(least);
    else kept.push(...(least.step < most.step ? [least, most] : [most, least]));
  };
  for (const point of sound) {
    const here = Math.min(pixels - 1, Math.floor(((point.step - first) / (last - first || 1)) * pixels));
    if (here !== bin) {
      flush();
      [bin, least, most] = [here, null, null];
    }
    if (!least || point.value < least.value) least = point;
    if (!most || point.value > most.value) most = point;
  }
  flush();
  return kept;
}

/** A running mean that forgets: of each new value `1 − keep` counts. Begun without a pull towards zero. */
export function smooth(points: readonly Point[], keep: number): Point[] {
  let [sum, weight] = [0, 0];
  return points.map(({ step, value }) => {
    if (!Number.isFinite(value)) return { step, value };
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return { step, value: sum / weight };
  });
}
