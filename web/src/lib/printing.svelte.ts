/** Whether the page is being printed: on paper nothing scrolls, so what shows a part of something then shows all. */
import { flushSync } from 'svelte';

/** CSS pixels that a line of a printed figure surely has: A4 or Letter upright, within the margins of page and figure. */
export const PAPER = 620;

class Printing {
  now = $state(false);

  constructor() {
    if (typeof window === 'undefined') return;
    // At once: the browser takes the page as it is when these return.
    const set = (value: boolean): void => flushSync(() => void (this.now = value));
    window.addEventListener('beforeprint', () => set(true));
    window.addEventListener('afterprint', () => set(false));
    window.matchMedia?.('print').addEventListener('change', (event) => set(event.matches));
  }
}
export const printing = new Printing();

/** Things in rows that fit a width, each row beginning with room for a name. */
export function inRows(widths: readonly number[], name: number, width: number): [number, number][] {
  const rows: [number, number][] = [];
  let [first, used] = [0, name];
  widths.forEach((one, index) => {
    if (index > first && used + one > width) {
      rows.push([first, index]);
      [first, used] = [index, name];
    }
    used += one;
  });
  if (first < widths.length) rows.push([first, widths.length]);
  return rows;
}
