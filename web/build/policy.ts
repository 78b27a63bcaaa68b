import type { Plugin } from 'vite';

/** Puts a Content-Security-Policy into the built page; the development server needs inline scripts and goes without. */
export function policy(content: string): Plugin {
  return {
    name: 'limner-policy',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler: () => [
        { tag: 'meta', attrs: { 'http-equiv': 'Content-Security-Policy', content }, injectTo: 'head-prepend' },
      ],
    },
  };
}
