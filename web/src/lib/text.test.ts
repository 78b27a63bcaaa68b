import { describe, expect, test } from 'vitest';

import { directionOf, inline, pieces, stepOf } from './text';

describe('a token is shown', () => {
  test.each([
    [' cat', '·cat'],
    ['\n', '↵'],
    ['\t', '⇥'],
    ['', '∅'],
    ['\\xe9\\xb8', '⟨E9⟩⟨B8⟩'],
    ['a\u200bb', 'a⟨ZWSP⟩b'],
    ['\u0007', '⟨U+0007⟩'],
    ['猫', '猫'],
  ])('%j as %s', (text, shown) => expect(inline(text)).toBe(shown));

  test('with joiners left where they shape letters', () => {
    const family = '👩\u200d👩';
    expect(inline(family)).toBe(family);
    expect(inline('\u200d')).toBe('⟨ZWJ⟩');
  });

  test('in pieces that add up', () => {
    expect(pieces(' a\\xe2 b').map((piece) => piece.kind)).toEqual(['space', 'text', 'byte', 'space', 'text']);
  });

  test('with no markup understood', () => expect(inline('</script><b>')).toBe('</script><b>'));
});

describe('a text runs', () => {
  test.each([
    ['The cat', 'ltr'],
    ['القطة', 'rtl'],
    ['123 … שלום', 'rtl'],
    ['你好', 'ltr'],
    ['', 'ltr'],
    ['GPT القطة', 'ltr'],
  ] as const)('%s: %s', (text, direction) => expect(directionOf(text)).toBe(direction));

  test('and arrow keys go with it', () => {
    expect(stepOf('ArrowRight', 'ltr')).toBe(1);
    expect(stepOf('ArrowRight', 'rtl')).toBe(-1);
    expect(stepOf('a', 'ltr')).toBe(0);
  });
});
