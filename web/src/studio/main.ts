import '../styles/tokens.css';
import '../styles/base.css';
import '../styles/figures.css';
import '../styles/pages.css';
import '../styles/print.css';

import { mount } from 'svelte';

import App from './App.svelte';

mount(App, { target: document.getElementById('app')! });
