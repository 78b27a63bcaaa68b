import { createHash } from 'node:crypto';

import type { Plugin } from 'vite';

/**
 * Makes the report one file: script and style move into the page, and a policy lets only that very script run and
 * nothing be fetched. Licences that ask for their notice are carried along as text.
 */
export function single(notices: string): Plugin {
  return {
    name: 'limner-single',
    apply: 'build',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        const page = Object.values(bundle).find((part) => part.fileName.endsWith('.html'));
        if (page?.type !== 'asset') throw new Error('the report has no page');
        const scripts = Object.values(bundle).filter((part) => part.type === 'chunk');
        const styles = Object.values(bundle).filter((part) => part.type === 'asset' && part.fileName.endsWith('.css'));
        if (scripts.length !== 1) throw new Error(`the report has ${scripts.length} scripts, but it must be one`);

        // Neither may end the element it stands in.
        const code = scripts[0].code.replace(/<\/(script)/gi, '<\\/$1').replace(/<!--/g, '<\\x21--');
        const style = styles.map((part) => String((part as { source: unknown }).source)).join('\n');
        if (/<\/style/i.test(style)) throw new Error('a style ends its own element');

        const hash = createHash('sha256').update(code).digest('base64');
        const content = [
          "default-src 'none'",
          `script-src 'sha256-${hash}'`,
          "style-src 'unsafe-inline'", // charts set their own style attributes; a style cannot fetch what img-src forbids
          'img-src data: blob:',
          "base-uri 'none'",
          "form-action 'none'",
        ].join('; ');

        let html = String(page.source)
          .replace(/\s*<script\b[^>]*\bsrc=[^>]*><\/script>/g, '')
          .replace(/\s*<link\b[^>]*\brel="(?:stylesheet|modulepreload)"[^>]*>/g, '');
        const notice = Object.values(bundle).find((part) => part.fileName === notices);
        if (notice?.type !== 'asset') throw new Error(`${notices} was not written`);
        const said = String(notice.source)
          .replace(/<\/(script)/gi, '<\\/$1')
          .replace(/<!--/g, '<\\x21--');
        // replacement functions, because `$&` and the like in code would be understood
        html = html.replace(
          '<head>',
          () => `<head>\n    <meta http-equiv="Content-Security-Policy" content="${content}" />`,
        );
        html = html.replace('</head>', () => `  <style>${style}</style>\n  </head>`);
        html = html.replace(
          '</body>',
          () =>
            `  <script type="text/plain" id="notices">${said}</script>\n    <script type="module">${code}</script>\n  </body>`,
        );
        page.source = html;
        for (const part of [...scripts, ...styles, notice]) delete bundle[part.fileName];
      },
    },
  };
}
