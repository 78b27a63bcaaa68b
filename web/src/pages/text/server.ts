/** What the pages of texts ask for alike: the models that write, and where a head is switched off. */

import type { Change } from '../../lib/about';
import { href } from '../../lib/address.svelte';
import { api, type Model } from '../../lib/api';

/** The models that write, those that cannot be opened among them. */
export async function writers(signal?: AbortSignal): Promise<Model[]> {
  return (await api.models(signal)).filter((model) => model.kind === 'text generator');
}

export const EXAMPLES = [
  'The curious cat climbed',
  "The dog didn't bark because it was tired",
  'Once upon a time, there was a little girl named Lily. She',
] as const;

/** The address of the page on which a text is read with something changed. */
export function changed(
  model: string,
  text: string,
  changes: readonly Change[],
  more: Record<string, number> = {},
): string {
  return href('change', { model, prompt: text, changes: JSON.stringify(changes), ...more });
}
