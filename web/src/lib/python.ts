/** "Copy as Python": what a figure shows, as lines that a person can run. */

import type { TextTrace } from './about';

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

// ── models ──

const folders = new Map<string, string>();

/** Note where the models of runs are, for a studio may show runs that lie anywhere. */
export function rememberRuns(models: readonly { name: string; path: string }[]): void {
  for (const { name, path } of models) {
    if (/[\\/]/.test(name)) folders.set(name, path.replace(/[\\/]model$/, ''));
  }
}

/** What opens a model: of a name that the studio gives, or of a checkpoint, `runs/NAME@STEP`. */
function opens(model: string): { imports: string[]; call: string } {
  const [, run, step] = /^(.+)@(\d+)$/.exec(model) ?? [];
  if (run === undefined)
    return { imports: ['import limner'], call: `limner.load(${literal(folders.get(model) ?? model)})` };
  return {
    imports: ['from pathlib import Path', 'from limner.train.looking_back import open_at'],
    call: `open_at(Path(${literal(folders.get(run) ?? run)}), ${Number(step)})`,
  };
}

/**
 * Lines that run in a Python of their own.
 *
 * @param models what the lines call each model, and the name that it has in the studio
 * @param lines what is done with them; what they import stands among them
 */
export function program(models: Record<string, string>, ...lines: string[]): string {
  const imports = new Set<string>();
  const opened = Object.entries(models).map(([name, model]) => {
    const { imports: needed, call } = opens(model);
    for (const line of needed) imports.add(line);
    return `${name} = ${call}`;
  });
  const isImport = (line: string): boolean => /^(import|from) /.test(line);
  for (const line of lines.filter(isImport)) imports.add(line);
  const rest = lines.filter((line) => !isImport(line));
  if (rest.some((line) => /\blimner\./.test(line))) imports.add('import limner');
  // As Python's own tools sort them: what comes with Python, then limner; whole modules first.
  const ours = (line: string): boolean => /^\w+ limner\b/.test(line);
  const sorted = [...imports].sort(
    (a, b) => Number(b.startsWith('import')) - Number(a.startsWith('import')) || (a < b ? -1 : 1),
  );
  const groups = [sorted.filter((line) => !ours(line)), sorted.filter(ours), [...opened, ...rest]];
  return (
    groups
      .filter((group) => group.length > 0)
      .map((group) => group.join('\n'))
      .join('\n\n') + '\n'
  );
}

// ── traces ──

const LONGEST_NOTE = 60; // characters of a text beside its ids

/** The lines that open a trace as this page has it; then `lines`, which say what the figure shows. */
export function pythonFor(trace: TextTrace, ...lines: string[]): string {
  const { model, changes, run, tokens } = trace.about;
  const made =
    changes.length > 0 ? [`changes = [limner.change_from_dict(change) for change in ${literal(changes)}]`] : [];
  const asked = [
    ...(changes.length > 0 ? ['changes=changes'] : []),
    // Without being asked for it, a trace keeps no lens, which costs more than all the rest.
    ...(lines.some((line) => line.includes('"lens.')) ? ['keep="everything"'] : []),
  ];
  // A branch has tokens that no seed would draw: it is given as it is.
  if (run && !('branch' in run)) {
    const settings = Object.entries(run.settings).map(([key, value]) => `${key}=${literal(value)}`);
    made.push(
      `prompt = ${promptOf(trace)}`,
      `written = model.generate(${['prompt', `seed=${run.seed}`, ...settings].join(', ')})`,
      `trace = model.trace(${['written', ...asked].join(', ')})`,
    );
  } else {
    const text = tokens.map((token) => (token.special ? '' : token.text)).join('');
    made.push(`ids = ${withNote(tokens, text)}`, `trace = model.trace(${['ids', ...asked].join(', ')})`);
  }
  return program({ model: model.name }, ...made, ...lines);
}

/**
 * A prompt as ids, for the trace does not say which of the two it was given as, and a text may be cut otherwise than the
 * ids were. Of a text that slid through its window the prompt's ids are there no longer.
 */
function promptOf(trace: TextTrace): string {
  const { run, tokens } = trace.about;
  const first = tokens.findIndex((token) => token.written);
  const read = first < 0 ? tokens : tokens.slice(0, first);
  return run!.settings.window === 'slide' || read.length === 0 ? literal(run!.prompt) : withNote(read, run!.prompt);
}

/** The ids of tokens, and beside them what they say. */
function withNote(tokens: readonly { id: number }[], text: string): string {
  const letters = [...text];
  const said = letters.length > LONGEST_NOTE ? `${letters.slice(0, LONGEST_NOTE).join('')}…` : text;
  return `${literal(tokens.map((token) => token.id))}  # ${literal(said)}`;
}
