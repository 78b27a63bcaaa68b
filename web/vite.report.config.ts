/** The report: one file that needs nothing else, into which limner writes a run. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

import { single } from './build/single.ts';

export default defineConfig({
  base: './',
  plugins: [svelte(), single('THIRD-PARTY.md')],
  build: {
    outDir: '../src/limner/assets/web',
    emptyOutDir: false, // the studio lies beside it
    target: 'es2023',
    cssTarget: ['chrome123', 'safari17.5', 'firefox121'], // the first with light-dark()
    license: { fileName: 'THIRD-PARTY.md' },
    assetsInlineLimit: Number.MAX_SAFE_INTEGER,
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false }, input: 'report.html', output: { codeSplitting: false } },
  },
});
