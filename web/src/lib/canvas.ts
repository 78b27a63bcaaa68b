/** Drawing on canvases: sharp on every screen, pixels by palette. */

import { printing } from './printing.svelte';

export const LARGEST = 8192; // pixels a side; browsers refuse canvases not much larger

/** Size a canvas in CSS pixels and wipe it; gives what draws on it in those, sharp at the screen's own resolution. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = Math.min(window.devicePixelRatio || 1, LARGEST / Math.max(width, height, 1));
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  const same = canvas.width === w && canvas.height === h;
  const context = canvas.getContext('2d');
  // On paper what clearRect leaves is white and hides what lies below; a canvas that is sized is empty.
  if (same && !printing.now) {
    context?.setTransform(1, 0, 0, 1, 0, 0);
    context?.clearRect(0, 0, w, h);
  } else {
    canvas.width = w;
    canvas.height = h;
  }
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context?.setTransform(w / width || 1, 0, 0, h / height || 1, 0, 0);
  return context;
}

/** Bytes as an image: each looks up its colour in a palette of 256 (lib/colours.ts). */
export function paint(bytes: Uint8Array, width: number, height: number, palette: Uint32Array): ImageData {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let index = 0; index < bytes.length; index++) pixels[index] = palette[bytes[index]];
  return image;
}

/** Red, green, blue bytes (height, width, 3) as an image. */
export function picture(bytes: Uint8Array, width: number, height: number): ImageData {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let index = 0, at = 0; index < pixels.length; index++, at += 3) {
    pixels[index] = (255 << 24) | (bytes[at + 2] << 16) | (bytes[at + 1] << 8) | bytes[at];
  }
  return image;
}

/** An image on a canvas of its own size, to be drawn larger or smaller from there. */
export function sheet(image: ImageData): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext('2d')?.putImageData(image, 0, 0);
  return canvas;
}

/** A canvas made by `sheet` as a data URL, for an <img>. */
export const url = (image: ImageData): string => sheet(image).toDataURL('image/png');

/** The bytes of a square matrix, the square root taken where asked: small shares are seen then. */
export const ROOT = Uint8Array.from({ length: 256 }, (_, byte) => Math.round(Math.sqrt(byte / 255) * 255));
