/** What a page asks the studio for: asked anew when its key changes; what was there stays until the new has come. */
import { untrack } from 'svelte';

export class Asked<T> {
  value = $state.raw<T | null>(null);
  /** The key that the value answers. */
  key = $state<string | null>(null);
  problem = $state('');
  busy = $state(false);
}

/**
 * Call it while a component is made. The last question counts: one that is no longer wanted is given up, and the studio
 * stops computing it.
 *
 * @param key what the question depends on; null: nothing is asked
 * @param wait milliseconds without a change after which it is asked, for what is typed
 */
export function asked<T>(
  key: () => string | null,
  ask: (signal: AbortSignal) => Promise<T>,
  { wait = 0 }: { wait?: number } = {},
): Asked<T> {
  const found = new Asked<T>();
  let first = true;
  $effect(() => {
    const now = key();
    if (now === null) {
      Object.assign(found, { value: null, key: null, problem: '', busy: false });
      return;
    }
    if (now === untrack(() => found.key)) {
      found.busy = false;
      return;
    }
    const control = new AbortController();
    found.busy = true;
    const run = (): void => {
      ask(control.signal).then(
        (value) => {
          if (!control.signal.aborted) Object.assign(found, { value, key: now, problem: '', busy: false });
        },
        (problem: unknown) => {
          if (control.signal.aborted) return;
          const said = problem instanceof Error ? problem.message : String(problem);
          Object.assign(found, { value: null, key: null, problem: said, busy: false });
        },
      );
    };
    const timer = setTimeout(() => untrack(run), first ? 0 : wait);
    first = false;
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  });
  return found;
}
