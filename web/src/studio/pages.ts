/** The studio's pages, in the order of the menu. Each is fetched when it is first opened. */
import type { Component } from 'svelte';

export interface Page {
  id: string;
  title: string;
  load: () => Promise<{ default: Component }>;
}

export const PAGES: readonly Page[] = [
  { id: 'home', title: 'Home', load: () => import('../pages/Home.svelte') },
  { id: 'tokens', title: 'Tokens', load: () => import('../pages/Tokens.svelte') },
  { id: 'meaning', title: 'Meaning', load: () => import('../pages/Meaning.svelte') },
  { id: 'order', title: 'Order', load: () => import('../pages/Order.svelte') },
  { id: 'text', title: 'Text run', load: () => import('../pages/TextRun.svelte') },
  { id: 'change', title: 'Change it', load: () => import('../pages/ChangeIt.svelte') },
  { id: 'picture', title: 'Picture run', load: () => import('../pages/PictureRun.svelte') },
  { id: 'training', title: 'Training', load: () => import('../pages/Training.svelte') },
  { id: 'compare', title: 'Compare', load: () => import('../pages/Compare.svelte') },
  { id: 'lessons', title: 'Lessons', load: () => import('../pages/Lessons.svelte') },
];
