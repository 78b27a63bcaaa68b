/** "Copy as Python": what a figure shows, as lines that a person can run. */

import type { Change, PictureAbout, TextAbout } from './about';
import type { Trace } from './trace';

/** A value as Python writes it. */
export function literal(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return 'float("nan")';
    if (!Number.isFinite(value)) return value > 0 ? 'float("inf")' : 'float("-inf")';
    return String(value);
  }
  if (typeof value === 'string') return JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029]/g, escape);
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([key, item]) => `${literal(key)}: ${literal(item)}`)
    .join(', ')}}`;
}
function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The lines that open a trace as this page has it; then `lines`, which say what the figure shows. */
export function pythonFor(trace: Trace<TextAbout> | Trace<PictureAbout>, ...lines: string[]): string {
  const { model, changes } = trace.about;
  const named =
    changes.length > 0
      ? [`changes = [limner.change_from_dict(change) for change in ${literal(changes as Change[])}]`]
      : [];
  const changed = changes.length > 0 ? ', changes=changes' : '';
  const opened = ['import limner', '', `model = limner.load(${literal(model.name)})`, ...named];
  if (trace.kind === 'text') {
    const about = trace.about as TextAbout;
    // A branch has tokens that no seed would draw: it is given as it is.
    const run = about.run && !('branch' in about.run) ? about.run : null;
    const given = run ? literal(run.prompt) : `[${about.tokens.map((token) => token.id).join(', ')}]`;
    if (run) {
      const settings = Object.entries(run.settings).map(([key, value]) => `, ${key}=${literal(value)}`);
      opened.push(
        `written = model.generate(${given}, seed=${run.seed}${settings.join('')})`,
        `trace = model.trace(written${changed})`,
      );
    } else opened.push(`trace = model.trace(${given}${changed})`);
  } else {
    const { settings } = trace.about as PictureAbout;
    const given = Object.entries(settings)
      .filter(([key, value]) => key !== 'prompt' && value !== null)
      .map(([key, value]) => `, ${key}=${literal(value)}`);
    opened.push(
      `picture = model.paint(${literal(settings.prompt ?? '')}${given.join('')})`,
      `trace = model.trace(picture${changed})`,
    );
  }
  return [...opened, ...lines].join('\n') + '\n';
}
