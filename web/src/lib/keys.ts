/** Moving over a figure with the keyboard. */

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

/** Whether a key is part of a shortcut, which belongs to the browser. */
export const isShortcut = (event: KeyboardEvent): boolean => event.ctrlKey || event.metaKey || event.altKey;

/** Where an arrow leads, in rows downwards and columns to the right; null: it is another key. */
export const arrow = (event: KeyboardEvent): readonly [number, number] | null =>
  Object.hasOwn(ARROWS, event.key) ? ARROWS[event.key] : null;

/** The number itself, or the nearest from 0 to `count` − 1. */
export const within = (value: number, count: number): number => Math.max(0, Math.min(count - 1, value));
