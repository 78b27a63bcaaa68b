/** Showing tokens: what cannot be seen is made visible, and each script runs its own way. */

export interface Piece {
  kind: 'text' | 'space' | 'newline' | 'tab' | 'byte' | 'control';
  /** What is shown. */
  text: string;
}

// A byte that is half of a character, as limner writes it (TextGenerator.token_text), a space, a line's end …
const PARTS =
  /\\x[0-9a-f]{2}|\r\n|[\n\r\t\u00a0 ]|[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const NAMES: Record<string, string> = {
  '\u200b': 'ZWSP',
  '\u200c': 'ZWNJ',
  '\u200d': 'ZWJ',
  '\u200e': 'LRM',
  '\u200f': 'RLM',
  '\ufeff': 'BOM',
};

/** A token's text in pieces, so that spaces, line ends, half characters and invisible ones are seen. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let last = 0;
  const add = (kind: Piece['kind'], shown: string): void => void found.push({ kind, text: shown });
  for (const match of text.matchAll(PARTS)) {
    if (match.index > last) add('text', text.slice(last, match.index));
    last = match.index + match[0].length;
    const part = match[0];
    if (part.startsWith('\\x')) add('byte', part.slice(2).toUpperCase());
    else if (part === ' ' || part === '\u00a0') add('space', part === ' ' ? '·' : '⍽');
    else if (part === '\t') add('tab', '⇥');
    else if (part === '\n' || part === '\r' || part === '\r\n') add('newline', '↵');
    else if (part === '\u200c' || part === '\u200d') {
      // Joiners shape the letters beside them (Persian, emoji): they stay where they are unless they stand alone.
      if (text.length === 1) add('control', NAMES[part]);
      else add('text', part);
    } else add('control', NAMES[part] ?? `U+${part.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`);
  }
  if (last < text.length) add('text', text.slice(last));
  const joined: Piece[] = [];
  for (const piece of found) {
    const before = joined.at(-1);
    if (piece.kind === 'text' && before?.kind === 'text') before.text += piece.text;
    else joined.push({ ...piece });
  }
  return joined;
}

/** A token in one line, for axes and tables: spaces outside are seen, what cannot be shown is named. */
export function inline(text: string): string {
  const shown = pieces(text)
    .map((piece) =>
      piece.kind === 'byte' ? `⟨${piece.text}⟩` : piece.kind === 'control' ? `⟨${piece.text}⟩` : piece.text,
    )
    .join('');
  return shown === '' ? '∅' : shown;
}

/** A token in a sentence: without the space before it, unless it is nothing else. */
export const word = (text: string): string => inline(text.trim() === '' ? text : text.trim());

const STRONG_RTL = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]|[\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const STRONG = /\p{L}/u;

/** The way a text runs: by its first letter, as `dir="auto"` has it. Tokens of one text go that way, each isolated. */
export function directionOf(text: string): 'ltr' | 'rtl' {
  for (const character of text) {
    if (STRONG_RTL.test(character)) return 'rtl';
    if (STRONG.test(character)) return 'ltr';
  }
  return 'ltr';
}

/** Which way an arrow key goes in a row of tokens: 1 to the next, −1 to the one before, 0 neither. */
export function stepOf(key: string, direction: 'ltr' | 'rtl'): number {
  if (key === 'ArrowRight') return direction === 'rtl' ? -1 : 1;
  if (key === 'ArrowLeft') return direction === 'rtl' ? 1 : -1;
  return 0;
}

/** A token as it is said: what is only a space or a line's end has a name. */
export function spoken(text: string): string {
  const said = pieces(text)
    .map((piece) => (piece.kind === 'text' || piece.kind === 'byte' || piece.kind === 'control' ? piece.text : ' '))
    .join('')
    .trim();
  if (said) return said;
  return text === '' ? 'nothing' : text.includes('\n') ? 'line end' : text.includes('\t') ? 'tab' : 'space';
}
