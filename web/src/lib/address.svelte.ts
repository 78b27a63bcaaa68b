/**
 * Where the reader is: `#/text?model=story&token=3`. What a page shows follows from its address alone, so that a page can
 * be bookmarked, sent on, and left and come back to with the browser's own buttons. It stands after the `#` so that it
 * works in a report opened from disk too.
 */

export type Values = Record<string, string | number | boolean | null | undefined>;

/** The address of a page; what is null or undefined is left out. */
export function href(page: string, values: Values = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== null && value !== undefined) query.set(key, String(value));
  }
  const text = query.toString();
  return `#/${page}${text ? `?${text}` : ''}`;
}

/** What an address says: the page, and the values by name. */
export function understand(hash: string): { page: string; values: Record<string, string> } {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  let page: string;
  try {
    page = decodeURIComponent(path);
  } catch {
    page = path; // a stray per cent sign
  }
  return { page, values: Object.fromEntries(new URLSearchParams(query)) };
}

class Address {
  page = $state('');
  #values = $state.raw<Record<string, string>>({});
  #waiting: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    if (typeof window === 'undefined') return;
    this.#read();
    // Going back, forward, or following a link.
    window.addEventListener('popstate', () => this.#read());
    window.addEventListener('hashchange', () => this.#read());
  }

  #read(): void {
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    const { page, values } = understand(window.location.hash);
    this.page = page;
    this.#values = values;
  }

  get values(): Readonly<Record<string, string>> {
    return this.#values;
  }

  /** A value of this page, or what stands for it where the address has none. */
  get(key: string, otherwise = ''): string {
    return this.#values[key] ?? otherwise;
  }

  /** The same as a number; what is no number counts as not there. */
  number(key: string, otherwise: number): number {
    const text = this.#values[key];
    if (text === undefined || text.trim() === '') return otherwise;
    const value = Number(text);
    return Number.isFinite(value) ? value : otherwise;
  }

  /**
   * Change some values of this page; null takes one out. Each change is a step to come back to with the browser's button,
   * unless `replace`: for sliders and typing, whose every step nobody wants back.
   */
  set(changes: Values, { replace = false }: { replace?: boolean } = {}): void {
    const values = { ...this.#values };
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === undefined) delete values[key];
      else values[key] = String(value);
    }
    if (href(this.page, values) === href(this.page, this.#values)) return;
    this.#values = values;
    if (!replace) return this.#write('push');
    // Browsers stop listening to pages that change their address a hundred times in a few seconds.
    this.#waiting ??= setTimeout(() => this.#write('replace'), 200);
  }

  /** Go to another page. */
  go(page: string, values: Values = {}): void {
    this.page = page;
    this.#values = understand(href(page, values)).values;
    this.#write('push');
  }

  #write(how: 'push' | 'replace'): void {
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    const where = href(this.page, this.#values);
    try {
      if (how === 'push') history.pushState(null, '', where);
      else history.replaceState(null, '', where);
    } catch {
      window.location.hash = where; // where a page from disk may not write its history
    }
  }
}

export const address = new Address();
