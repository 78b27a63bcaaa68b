/**
 * Colours for numbers, the same in every figure.
 *
 * - `sequential`: none to much. On a light ground from white through green and blue to a deep purple, on a dark one from
 *   the ground through purple, blue and green to yellow: viridis, begun at the ground so that nothing looks like nothing.
 *   Lightness runs one way only, so it reads without any colour vision and in a grey print.
 * - `diverging`: less than nothing is orange, more is blue, nothing is the ground. Blue and orange are told apart with
 *   every common kind of colour blindness.
 * - `tint` and `tintBoth`: the same for grounds that carry text: nowhere so strong that the text on it falls below a
 *   contrast of 4.5 (tested).
 * - `series`: Okabe and Ito's colours for lines beside each other.
 */

export type Rgb = readonly [number, number, number];
type Stops = readonly string[];

const SEQUENTIAL = {
  light: ['#ffffff', '#dcedc3', '#9bd3a8', '#4fb0a5', '#2a85a0', '#2f5890', '#3d2c73', '#2a0f49'],
  dark: ['#171b21', '#2e2350', '#3b4580', '#2f6a8e', '#21908c', '#43b977', '#a5d93b', '#fde725'],
};
const DIVERGING = {
  light: ['#8a3800', '#c4640f', '#eca257', '#fbdcba', '#ffffff', '#c9def5', '#76ace6', '#2b6fc2', '#123f7d'],
  dark: ['#ffc48a', '#f0923f', '#ba5f14', '#5c3315', '#171b21', '#1c3d66', '#2f6fb8', '#6faaf0', '#bcd9ff'],
};
const TINT = {
  light: ['#ffffff', '#feecd3', '#fcd19b', '#f8b165', '#ef9038'],
  dark: ['#171b21', '#33231a', '#573214', '#7d430e', '#9c5410'],
};
const TINT_BLUE = {
  light: ['#ffffff', '#e1edfb', '#bcd6f6', '#91bbef', '#689ee4'],
  dark: ['#171b21', '#192c45', '#1c3f69', '#1f538e', '#2463ab'],
};

export const SERIES: Stops = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b8860b', '#56b4e9', '#6b6b6b'];
export const SERIES_DARK: Stops = ['#56b4e9', '#f08a4b', '#2fc79a', '#e29cc4', '#e6c619', '#8fb6ff', '#a8a8a8'];

const STEPS = 256;

/** A colour as sRGB bytes. */
export function rgb(hex: string): Rgb {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const linear = (byte: number): number =>
  byte <= 10.31475 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
const byteOf = (value: number): number =>
  Math.round(255 * Math.min(1, Math.max(0, value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055)));

/** sRGB bytes to OKLab, in which a step looks as large anywhere. Source: Ottosson 2020, "A perceptual color space". */
export function oklab([red, green, blue]: Rgb): [number, number, number] {
  const [r, g, b] = [linear(red), linear(green), linear(blue)];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}
function fromOklab([L, a, b]: readonly number[]): Rgb {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    byteOf(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    byteOf(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    byteOf(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** 256 colours between the stops, packed as a canvas wants them (little-endian RGBA). */
function ramp(stops: Stops): Uint32Array {
  const fixed = stops.map((stop) => oklab(rgb(stop)));
  const packed = new Uint32Array(STEPS);
  for (let step = 0; step < STEPS; step++) {
    const at = (step / (STEPS - 1)) * (fixed.length - 1);
    const left = Math.min(Math.floor(at), fixed.length - 2);
    const share = at - left;
    const mixed = fixed[left].map((value, axis) => value + (fixed[left + 1][axis] - value) * share);
    const [red, green, blue] = fromOklab(mixed);
    packed[step] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return packed;
}

const made = new Map<string, Uint32Array>();
function once(name: string, stops: { light: Stops; dark: Stops }, dark: boolean): Uint32Array {
  const key = `${name} ${dark}`;
  let found = made.get(key);
  if (!found) made.set(key, (found = ramp(dark ? stops.dark : stops.light)));
  return found;
}

/** Colours for bytes from 0 (none) to 255 (much). */
export const sequential = (dark: boolean): Uint32Array => once('sequential', SEQUENTIAL, dark);
/** Colours for bytes: 0 far below, 128 nothing, 255 far above. */
export const diverging = (dark: boolean): Uint32Array => once('diverging', DIVERGING, dark);

/** A packed colour as CSS has it. */
export function css(packed: number): string {
  return `rgb(${packed & 255} ${(packed >> 8) & 255} ${(packed >> 16) & 255})`;
}
const place = (value: number): number => Math.round(255 * Math.min(1, Math.max(0, value || 0)));

/** The colour for a share from 0 to 1. */
export const shareColour = (share: number, dark: boolean): string => css(sequential(dark)[place(share)]);
/** The colour for a value from −1 to 1. */
export const bothColour = (value: number, dark: boolean): string => css(diverging(dark)[place((value + 1) / 2)]);
/** A ground for text, from 0 (plain) to 1. */
export const tint = (share: number, dark: boolean): string => css(once('tint', TINT, dark)[place(share)]);
/** A ground for text, orange for −1, plain for 0, blue for 1. */
export const tintBoth = (value: number, dark: boolean): string =>
  value < 0 ? tint(-value, dark) : css(once('tint blue', TINT_BLUE, dark)[place(value)]);
/** The colour of the n-th line. */
export const series = (index: number, dark: boolean): string => (dark ? SERIES_DARK : SERIES)[index % SERIES.length];

/** Black or white, whichever reads better on a packed colour. */
export function inkOn(packed: number): string {
  const light = luminance([packed & 255, (packed >> 8) & 255, (packed >> 16) & 255]);
  return (light + 0.05) / 0.05 > 1.05 / (light + 0.05) ? '#000000' : '#ffffff';
}

/** How light a colour is, from 0 to 1 (WCAG 2, "relative luminance"). */
export function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}
/** The contrast of two colours, from 1 to 21 (WCAG 2). */
export function contrast(one: Rgb, other: Rgb): number {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
