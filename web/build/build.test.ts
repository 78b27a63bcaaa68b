import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { single } from './single';

type Bundle = Record<string, { type: 'asset' | 'chunk'; fileName: string; source?: string; code?: string }>;

function build(code: string, style: string, extra: Bundle = {}): { html: string; left: string[] } {
  const bundle: Bundle = {
    'report.html': {
      type: 'asset',
      fileName: 'report.html',
      source:
        '<!doctype html><html><head>\n<title>t</title>\n<script type="module" crossorigin src="./a.js"></script>\n' +
        '<link rel="stylesheet" crossorigin href="./a.css"></head><body><div id="app"></div>' +
        '<script type="application/json" id="limner-report">null</script></body></html>',
    },
    'a.js': { type: 'chunk', fileName: 'a.js', code },
    'a.css': { type: 'asset', fileName: 'a.css', source: style },
    'NOTICES.md': { type: 'asset', fileName: 'NOTICES.md', source: 'MIT </script><b>' },
    ...extra,
  };
  const hook = single('NOTICES.md').generateBundle as unknown as {
    handler: (options: unknown, bundle: Bundle) => void;
  };
  hook.handler({}, bundle);
  return { html: String(bundle['report.html'].source), left: Object.keys(bundle) };
}

describe('the report is one file', () => {
  const code = 'const a = "</script><!-- $& $` $1"; document.title = `${a}`;';
  const { html, left } = build(code, 'a{color:red}');
  const page = new DOMParser().parseFromString(html, 'text/html');

  test('with nothing beside it and nothing to fetch', () => {
    expect(left).toEqual(['report.html']);
    expect(page.querySelectorAll('[src], [href]')).toHaveLength(0);
    expect(page.querySelector('style')!.textContent).toBe('a{color:red}');
  });

  test('whose script is whole and the only one that may run', () => {
    const script = page.querySelector('script[type=module]')!.textContent;
    expect(script).toContain('$& $` $1');
    const policy = page.querySelector('meta[http-equiv=Content-Security-Policy]')!.getAttribute('content')!;
    const rules = Object.fromEntries(policy.split('; ').map((rule) => [rule.split(' ')[0], rule.split(' ').slice(1)]));
    expect(rules['default-src']).toEqual(["'none'"]);
    expect(rules['script-src']).toEqual([`'sha256-${createHash('sha256').update(script).digest('base64')}'`]);
    expect(rules['connect-src']).toBeUndefined(); // as default-src has it
    expect(rules['img-src']).toEqual(['data:', 'blob:']);
  });

  test('with the place for a run in it, once, and the notices as text', () => {
    expect(html.split('<script type="application/json" id="limner-report">null</script>')).toHaveLength(2);
    expect(page.getElementById('notices')!.textContent).toContain('MIT');
    expect(page.querySelector('b')).toBeNull();
  });

  test('or is not built at all', () => {
    expect(() => build('1', '', { 'b.js': { type: 'chunk', fileName: 'b.js', code: '2' } })).toThrow(
      '2 scripts, but it must be one',
    );
    expect(() => build('1', 'a::after{content:"</style>"}')).toThrow('a style ends its own element');
  });
});

describe('the lock file', () => {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<
      string,
      { dev?: boolean; optional?: boolean; license?: string; resolved?: string; integrity?: string; link?: boolean }
    >;
  };
  const packages = Object.entries(lock.packages).filter(([place]) => place !== '');

  test('names no registry, and a hash for each package', () => {
    expect(packages.filter(([, entry]) => entry.resolved !== undefined)).toEqual([]);
    expect(packages.filter(([, entry]) => !entry.integrity)).toEqual([]);
  });

  test('holds nothing to be shipped whose licence asks for more than its notice', () => {
    const odd = packages.filter(
      ([, { dev, license }]) =>
        !dev && !['MIT', 'ISC', 'BSD-3-Clause', 'Unlicense', 'Apache-2.0'].includes(license ?? ''),
    );
    // Its LICENSE is MIT's; its package.json does not say so.
    expect(odd.map(([place]) => place)).toEqual(['node_modules/svelte-toolbelt']);
  });
});
