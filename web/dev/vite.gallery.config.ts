/** The gallery as one file, to be opened from disk: `npx vite build --config dev/vite.gallery.config.ts`. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

import { single } from '../build/single.ts';

export default defineConfig({
  base: './',
  plugins: [svelte(), single('THIRD-PARTY.md')],
  build: {
    outDir: 'node_modules/.gallery',
    target: 'es2023',
    cssTarget: ['chrome123', 'safari17.5', 'firefox121'],
    license: { fileName: 'THIRD-PARTY.md' },
    cssCodeSplit: false,
    minify: false,
    modulePreload: false,
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false }, input: 'gallery.html', output: { codeSplitting: false } },
  },
});
