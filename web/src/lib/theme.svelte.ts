/** Light or dark: the system's unless the reader chose, and what was chosen is remembered. */

export type Choice = 'auto' | 'light' | 'dark';
const KEY = 'limner.theme';

function remembered(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'auto';
  } catch {
    return 'auto'; // a report opened from disk may have no storage
  }
}

class Theme {
  choice = $state<Choice>('auto');
  #system = $state(false);

  constructor() {
    if (typeof window === 'undefined') return;
    const query = window.matchMedia?.('(prefers-color-scheme: dark)');
    this.#system = query?.matches ?? false;
    query?.addEventListener?.('change', (event) => (this.#system = event.matches));
    this.choose(remembered());
  }

  /** Whether figures are drawn on a dark ground: canvases cannot ask the style sheet. */
  get dark(): boolean {
    return this.choice === 'dark' || (this.choice === 'auto' && this.#system);
  }

  choose(choice: Choice): void {
    this.choice = choice;
    if (choice === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    try {
      if (choice === 'auto') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // not remembered, and nothing else is lost
    }
  }
}

export const theme = new Theme();
