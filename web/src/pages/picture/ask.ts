/** What is asked of a painter, as the form, the address and the server have it. */

import type { PictureAbout } from '../../lib/about';
import { address, type Values } from '../../lib/address.svelte';
import type { Model } from '../../lib/api';

export interface Ask {
  model: string;
  prompt: string;
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
  negative: string;
}

export const SAMPLERS = ['euler', 'heun', 'ddim', 'dpm++', 'ancestral'];
export const USUAL: Ask = {
  model: 'picturebook',
  prompt: 'a German Shepherd wearing a red baseball cap',
  seed: 0, // the first, as it comes
  steps: 25,
  guidance: 4,
  sampler: 'euler',
  negative: '',
};

/** What the address asks for; null where it has no prompt and seed, so that nothing is painted before anybody asked. */
export function asked(): Ask | null {
  const prompt = address.get('prompt');
  const seed = address.number('seed', -1);
  if (!prompt.trim() || !Number.isInteger(seed) || seed < 0) return null;
  return {
    model: address.get('model', USUAL.model),
    prompt,
    seed,
    steps: address.number('steps', USUAL.steps),
    guidance: address.number('guidance', USUAL.guidance),
    sampler: address.get('sampler', USUAL.sampler),
    negative: address.get('negative'),
  };
}

/** The same for the address: what is usual is left out. */
export function valuesOf(ask: Ask): Values {
  return {
    model: ask.model,
    prompt: ask.prompt,
    seed: ask.seed,
    steps: ask.steps === USUAL.steps ? null : ask.steps,
    guidance: ask.guidance === USUAL.guidance ? null : ask.guidance,
    sampler: ask.sampler === USUAL.sampler ? null : ask.sampler,
    negative: ask.negative || null,
  };
}

/** The settings that a trace's picture was painted with. */
export function askOf({ model, settings }: PictureAbout): Ask {
  return {
    model: model.name,
    prompt: String(settings.prompt ?? ''),
    seed: Number(settings.seed ?? 0),
    steps: Number(settings.steps ?? USUAL.steps),
    guidance: Number(settings.guidance ?? USUAL.guidance),
    sampler: String(settings.sampler ?? USUAL.sampler),
    negative: String(settings.negative ?? ''),
  };
}

/** What the server takes. */
export function request(ask: Ask): { model: string; prompt: string; seed: number; settings: Record<string, unknown> } {
  const { model, prompt, seed, steps, guidance, sampler, negative } = ask;
  return { model, prompt, seed, settings: { steps, guidance, sampler, negative } };
}

/** A prompt's words: letters and digits, as `limner.picture.prompts` has them. */
export const words = (prompt: string): string[] => prompt.match(/[\p{L}\p{N}]+/gu) ?? [];

/** Why a trace's picture cannot be painted again with changes; null where it can. */
export function missing(about: PictureAbout, models: readonly Model[]): string | null {
  const { name } = about.model;
  const model = models.find((one) => one.name === name);
  if (!model) {
    return `To change something, the picture is painted anew, which needs the model “${name}”. The studio has none of that name.`;
  }
  if (model.problem)
    return `To change something, the picture is painted anew, but “${name}” cannot be opened: ${model.problem}`;
  for (const source of ['from', 'blend', 'variations']) {
    if (about.settings[source] !== undefined) {
      return 'This picture was made from another one, which is not in its trace, so it cannot be painted anew here.';
    }
  }
  return null;
}
