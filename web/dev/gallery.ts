/** Every component with made-up numbers, to be looked at while it is being drawn: `npm run dev`, then /gallery.html. Not shipped. */
import '../src/styles/tokens.css';
import '../src/styles/base.css';
import '../src/styles/figures.css';
import '../src/styles/print.css';

import { mount } from 'svelte';

import Gallery from './Gallery.svelte';

mount(Gallery, { target: document.getElementById('app')! });
