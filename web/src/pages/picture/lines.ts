/** "Copy as Python" for pictures. */

import type { PictureTrace } from '../../lib/about';
import { literal } from '../../lib/python';
import type { PictureChange } from './changes';

/** The lines that paint a trace's picture again and look inside meanwhile; then `lines`. */
export function linesFor(trace: PictureTrace, ...lines: string[]): string {
  const { model, settings, changes } = trace.about;
  const given = [`seed=${literal(settings.seed ?? 0)}`];
  for (const name of ['steps', 'guidance', 'sampler']) {
    if (settings[name] !== undefined) given.push(`${name}=${literal(settings[name])}`);
  }
  if (settings.negative) given.push(`negative=${literal(settings.negative)}`);
  const { width, height } = settings;
  if (width !== undefined && (height !== model.size[0] || width !== model.size[1])) {
    given.push(`size=(${literal(height)}, ${literal(width)})`);
  }
  if (changes.length > 0) given.push(`changes=${literal(changes)}`);
  return (
    [
      'import limner',
      '',
      `painter = limner.load(${literal(model.name)})`,
      `trace = painter.trace(${literal(settings.prompt ?? '')}, ${given.join(', ')})`,
      ...lines,
    ].join('\n') + '\n'
  );
}

/** What a picture was painted with, as it is written in a call. */
const settingsOf = ({ about: { settings } }: PictureTrace): string =>
  ['seed', 'steps', 'guidance', 'sampler', 'negative']
    .filter((name) => settings[name] !== undefined && settings[name] !== '')
    .map((name) => `${name}=${literal(settings[name])}`)
    .join(', ');

/** The same for a picture without each of its heads in turn. */
export function linesForHeads(trace: PictureTrace, where: 'cross_attention' | 'attention'): string {
  const { model, settings, changes } = trace.about;
  return (
    [
      'import limner',
      '',
      `painter = limner.load(${literal(model.name)})`,
      `picture = limner.paint_changed(painter, ${literal(settings.prompt ?? '')}, ${literal(changes)}, ${settingsOf(trace)})`,
      `causal = limner.picture_causal_map(painter, picture${where === 'attention' ? ', where="attention"' : ''})`,
      'print(causal.change.round(4))  # how much changes without each head, shape (layers, heads)',
    ].join('\n') + '\n'
  );
}

/** The same for a picture before and after changes. */
export function linesForChanges(trace: PictureTrace, changes: readonly PictureChange[]): string {
  const { model, settings } = trace.about;
  return (
    [
      'import limner',
      '',
      `painter = limner.load(${literal(model.name)})`,
      `changes = ${literal(changes)}`,
      `found = limner.compare_pictures(painter, ${literal(settings.prompt ?? '')}, changes, ${settingsOf(trace)})`,
      'found.after.save("after.png")',
      'print(found.changed())',
    ].join('\n') + '\n'
  );
}
