/** "Copy as Python" for pictures. */

import type { PictureTrace } from '../../lib/about';
import { literal, program } from '../../lib/python';
import type { PictureChange } from './changes';

/** The lines that paint a trace's picture again and look inside meanwhile; then `lines`. */
export function linesFor(trace: PictureTrace, ...lines: string[]): string {
  const { model, settings, changes, looks, schedule } = trace.about;
  const given = [literal(settings.prompt ?? ''), ...settingsOf(trace)];
  // Places in arrays are those of the looks that are kept.
  if (schedule && looks.length < schedule.length) given.push(`looks=${literal(looks.map((look) => look.number))}`);
  if (changes.length > 0) given.push(`changes=${literal(changes)}`);
  return program({ painter: model.name }, `trace = painter.trace(${given.join(', ')})`, ...lines);
}

/** The same for a picture without each of its heads in turn. */
export function linesForHeads(trace: PictureTrace, where: 'cross_attention' | 'attention'): string {
  return program(
    { painter: trace.about.model.name },
    `picture = ${painted(trace)}`,
    `causal = limner.picture_causal_map(painter, picture${where === 'attention' ? ', where="attention"' : ''})`,
    'print(causal.change.round(4))  # how much changes without each head, shape (layers, heads)',
  );
}

/** The same for a picture before and after changes. */
export function linesForChanges(trace: PictureTrace, changes: readonly PictureChange[]): string {
  return program(
    { painter: trace.about.model.name },
    `picture = ${painted(trace)}`,
    `changes = ${literal(changes)}`,
    'found = limner.compare_pictures(painter, picture, changes)',
    'found.after.save("after.png")',
    'print(found.changed())',
  );
}

/** What paints a trace's picture, with what it was changed by already. */
function painted(trace: PictureTrace): string {
  const { settings, changes } = trace.about;
  const given = [literal(settings.prompt ?? ''), literal(changes), ...settingsOf(trace)];
  return `limner.paint_changed(painter, ${given.join(', ')})`;
}

/** What a picture was painted with, as it is written in a call. */
function settingsOf({ about: { model, settings } }: PictureTrace): string[] {
  const given = ['seed', 'steps', 'guidance', 'sampler', 'negative']
    .filter((name) => settings[name] !== undefined && settings[name] !== '')
    .map((name) => `${name}=${literal(settings[name])}`);
  const { width, height } = settings;
  if (width !== undefined && (height !== model.size[0] || width !== model.size[1])) {
    given.push(`size=(${literal(height)}, ${literal(width)})`);
  }
  return given;
}
