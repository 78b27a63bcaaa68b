/** The models that the studio has, fetched once for all pages. */
import { api, type Model } from './api';

export type Task = 'write' | 'read' | 'paint';
const TASKS: Record<Task, readonly string[]> = {
  write: ['text generator'],
  read: ['text generator', 'text encoder'],
  paint: ['picture generator'],
};

/** The published encoder that an extra brings: what knows real meaning. */
export const MEANING = 'all-minilm-l6-v2';

class Shelf {
  models = $state.raw<Model[] | null>(null);
  problem = $state('');
  #asked = false;

  /** Ask for them, unless somebody did. */
  open(): this {
    if (!this.#asked) {
      this.#asked = true;
      api.models().then(
        (models) => (this.models = models),
        (problem: Error) => {
          this.#asked = false;
          this.problem = problem.message;
        },
      );
    }
    return this;
  }

  /** Those that can do something, sound ones only. */
  for(task: Task): Model[] {
    return (this.models ?? []).filter((model) => !model.problem && TASKS[task].includes(model.kind));
  }
  has(name: string): boolean {
    return (this.models ?? []).some((model) => model.name === name && !model.problem);
  }
  /** The first of some names that is there; else the first of its kind. */
  pick(task: Task, ...names: string[]): string {
    return names.find((name) => this.has(name)) ?? this.for(task)[0]?.name ?? '';
  }
  options(task: Task): { value: string; label: string }[] {
    return this.for(task).map(({ name }) => ({ value: name, label: name }));
  }
}
export const shelf = new Shelf();
