/** Two texts side by side: what they share and what each has alone. */

export interface Part {
  text: string;
  same: boolean;
}

const MOST = 600; // words; beyond, only the shared beginning and end are looked for

/** The parts of two texts by their longest common sequence of words. Source: the textbook's dynamic programming. */
export function difference(before: string, after: string): { before: Part[]; after: Part[] } {
  const [a, b] = [words(before), words(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [m, n] = [a.length - start - end, b.length - start - end];
  const [keepA, keepB] = [new Array<boolean>(a.length).fill(true), new Array<boolean>(b.length).fill(true)];
  keepA.fill(false, start, start + m);
  keepB.fill(false, start, start + n);
  if (m <= MOST && n <= MOST) {
    const longest = new Uint16Array((m + 1) * (n + 1));
    for (let i = m - 1; i >= 0; i--) {
      for (let j = n - 1; j >= 0; j--) {
        longest[i * (n + 1) + j] =
          a[start + i] === b[start + j]
            ? longest[(i + 1) * (n + 1) + j + 1] + 1
            : Math.max(longest[(i + 1) * (n + 1) + j], longest[i * (n + 1) + j + 1]);
      }
    }
    for (let i = 0, j = 0; i < m && j < n;) {
      if (a[start + i] === b[start + j]) {
        keepA[start + i++] = true;
        keepB[start + j++] = true;
      } else if (longest[(i + 1) * (n + 1) + j] >= longest[i * (n + 1) + j + 1]) i++;
      else j++;
    }
  }
  return { before: join(a, keepA), after: join(b, keepB) };
}

// A word with the space before it; of scripts without spaces, each character.
const words = (text: string): string[] =>
  text.match(
    /\s*[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|\s*[^\s\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]+|\s+/gu,
  ) ?? [];

function join(parts: readonly string[], same: readonly boolean[]): Part[] {
  const found: Part[] = [];
  parts.forEach((text, index) => {
    const last = found.at(-1);
    if (last?.same === same[index]) last.text += text;
    else found.push({ text, same: same[index] });
  });
  return found;
}
