/** What jsdom lacks and components ask for: sizes, canvases, media queries. A canvas notes what is drawn on it. */

import { afterEach } from 'vitest';

export interface Drawn {
  method: string;
  args: unknown[];
}
const drawings = new WeakMap<HTMLCanvasElement, Drawn[]>();

/** What was drawn on a canvas since it was made or sized. */
export const drawnOn = (canvas: HTMLCanvasElement): Drawn[] => drawings.get(canvas) ?? [];

class FakeImageData {
  readonly data: Uint8ClampedArray;
  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.data = new Uint8ClampedArray(width * height * 4);
  }
}
Object.assign(globalThis, { ImageData: FakeImageData });

HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement): never {
  const calls: Drawn[] = drawings.get(this) ?? [];
  drawings.set(this, calls);
  return new Proxy<Record<string, unknown>>(
    { canvas: this },
    {
      get: (target, name: string) =>
        name in target
          ? target[name]
          : (...args: unknown[]) => {
              calls.push({ method: name, args });
              return name === 'measureText' ? { width: 30 } : undefined;
            },
    },
  ) as never;
};
HTMLCanvasElement.prototype.toDataURL = () => 'data:image/png;base64,';

Object.assign(globalThis, {
  ResizeObserver: class {
    observe(): void {}
    unobserve(): void {}
    disconnect(): void {}
  },
});
for (const side of ['clientWidth', 'offsetWidth'] as const) {
  Object.defineProperty(HTMLElement.prototype, side, { configurable: true, get: () => 600 });
}
Element.prototype.scrollIntoView = () => undefined;
window.scrollTo = (() => undefined) as typeof window.scrollTo;
window.matchMedia = ((query: string) => ({
  matches: false,
  media: query,
  addEventListener: () => undefined,
  removeEventListener: () => undefined,
})) as unknown as typeof window.matchMedia;

afterEach(() => {
  document.body.replaceChildren();
});
