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
  const named = changes.length > 0 ? [`changes = changes_from(${literal(changes as Change[])})`] : [];
  const changed = changes.length > 0 ? ', changes=changes' : '';
  const imports =
    changes.length > 0 ? ['import limner', 'from limner.explain.changes import changes_from'] : ['import limner'];
  const opened = [...imports, '', `model = limner.load(${literal(model.name)})`, ...named];
  if (trace.kind === 'text') {
    const about = trace.about as TextAbout;
    const given = about.run ? literal(about.run.prompt) : `[${about.tokens.map((token) => token.id).join(', ')}]`;
    if (about.run) {
      const settings = Object.entries(about.run.settings).map(([key, value]) => `, ${key}=${literal(value)}`);
      opened.push(
        `written = model.write(${given}, seed=${about.run.seed}${settings.join('')})`,
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
