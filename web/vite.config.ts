/** The studio: `npm run dev` serves it beside a running `limner studio`, `npm run build` writes it into the package. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

import { policy } from './build/policy.ts';

/** Nothing but this machine's own server: what is looked at stays here. */
const STUDIO = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'", // charts set their own style attributes
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

export default defineConfig({
  base: './',
  plugins: [svelte(), policy(STUDIO)],
  build: {
    outDir: '../src/limner/assets/web/studio',
    emptyOutDir: true,
    target: 'es2023',
    cssTarget: ['chrome123', 'safari17.5', 'firefox121'], // the first with light-dark()
    license: { fileName: 'THIRD-PARTY.md' },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: { '/api': { target: 'http://localhost:8410' } },
  },
});
