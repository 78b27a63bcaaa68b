/** Tens of thousands of points in a few milliseconds: each is a few pixels of an image, not a shape. */

export interface View {
  /** Screen pixels of the origin of the points, and a unit's length. */
  x: number;
  y: number;
  k: number;
}

/** The view in which all points are seen, with a margin in pixels. */
export function fit(points: Float32Array, width: number, height: number, margin = 24): View {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let at = 0; at < points.length; at += 2) {
    if (points[at] < left) left = points[at];
    if (points[at] > right) right = points[at];
    if (points[at + 1] < bottom) bottom = points[at + 1];
    if (points[at + 1] > top) top = points[at + 1];
  }
  if (!(right >= left)) return { x: width / 2, y: height / 2, k: 1 };
  const room = (pixels: number, span: number): number =>
    span > 0 ? Math.max(1, pixels - 2 * margin) / span : Infinity;
  const k = Math.min(room(width, right - left), room(height, top - bottom));
  if (!Number.isFinite(k)) return { x: width / 2 - left, y: height / 2 + top, k: 1 }; // all in one place
  return { x: width / 2 - (k * (left + right)) / 2, y: height / 2 + (k * (bottom + top)) / 2, k };
}
/** Where a point is on the screen; up is up. */
export const screenX = (view: View, x: number): number => view.x + view.k * x;
export const screenY = (view: View, y: number): number => view.y - view.k * y;

/** A disc as offsets from its middle. */
function disc(radius: number): [number, number][] {
  const found: [number, number][] = [];
  const reach = Math.ceil(radius);
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) if (x * x + y * y <= radius * radius) found.push([x, y]);
  return found;
}

/** All points as an image of device pixels. `colours` are packed (lib/colours.ts), one a group. */
export function splat(
  points: Float32Array,
  groups: Uint8Array | null,
  colours: Uint32Array,
  view: View,
  image: ImageData,
  ratio: number,
  radius: number,
): void {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(0);
  const spots = disc(radius * ratio);
  const offsets = spots.map(([x, y]) => y * width + x);
  const edge = Math.ceil(radius * ratio);
  const [k, left, top] = [view.k * ratio, view.x * ratio, view.y * ratio];
  // The first points are the most frequent words: drawn last, they lie on top.
  for (let index = points.length / 2 - 1; index >= 0; index--) {
    const x = Math.round(left + k * points[2 * index]);
    const y = Math.round(top - k * points[2 * index + 1]);
    if (x < edge || y < edge || x >= width - edge || y >= height - edge) continue;
    const colour = colours[groups ? groups[index] % colours.length : 0];
    const at = y * width + x;
    for (const offset of offsets) pixels[at + offset] = colour;
  }
}

/** Which points have room for their name: the first come first, and none lies on another. `wide` is a name's length in pixels. */
export function labelled(
  points: Float32Array,
  view: View,
  width: number,
  height: number,
  most: number,
  wide: (index: number) => number,
): number[] {
  const found: { index: number; left: number; right: number; y: number }[] = [];
  const tries = Math.min(points.length / 2, 20000); // further down are words that nobody looks for
  for (let index = 0; index < tries && found.length < most; index++) {
    const [x, y] = [screenX(view, points[2 * index]), screenY(view, points[2 * index + 1])];
    if (x < 4 || y < 10 || x > width - 30 || y > height - 6) continue;
    const [left, right] = [x - 4, x + 10 + wide(index)];
    if (found.some((other) => Math.abs(other.y - y) < 17 && other.left < right && left < other.right)) continue;
    found.push({ index, left, right, y });
  }
  return found.map(({ index }) => index);
}
