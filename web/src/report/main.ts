import '../styles/tokens.css';
import '../styles/base.css';
import '../styles/figures.css';
import '../styles/print.css';

import { mount } from 'svelte';

import { embedded } from './embedded';
import Report from './Report.svelte';

mount(Report, { target: document.getElementById('app')!, props: { found: embedded(document) } });
