/** What limner wrote into the report: a description as JSON, and traces as base64, in elements that no browser runs. */

import type { PictureAbout, TextAbout } from '../lib/about';
import { readTrace, type Trace, TraceError } from '../lib/trace';

export interface Described {
  /** Of what is written here; this page reads 1. */
  version: number;
  title: string;
  /** What wrote it: "limner 0.1.0". */
  made_with: string;
  /** The trace's ids, the first is the run's own, the rest are what `extra` refers to. */
  traces: string[];
  /** Whatever else was computed beforehand, such as the grid of interventions; see ReportText and ReportPicture. */
  extra: Record<string, unknown>;
}

export type AnyTrace = Trace<TextAbout> | Trace<PictureAbout>;
export type Found = { described: Described; traces: Map<string, AnyTrace>; problem?: undefined } | { problem: string };

/** Bytes from base64. */
export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

export function embedded(page: Document): Found {
  try {
    const said = page.getElementById('limner-report')?.textContent ?? 'null';
    const described = JSON.parse(said) as Described | null;
    if (!described) return { problem: 'This report is empty: it is the form into which limner writes a run.' };
    if (described.version !== 1) {
      return {
        problem: `This report is of version ${String(described.version).slice(0, 20)}, but its page reads version 1. Make it anew.`,
      };
    }
    const traces = new Map<string, AnyTrace>();
    for (const element of page.querySelectorAll<HTMLScriptElement>('script[type="application/x-limner-trace"]')) {
      const id = element.dataset.id ?? '';
      traces.set(
        id,
        readTrace(fromBase64((element.textContent ?? '').trim()), `The trace ${id} of this report`) as AnyTrace,
      );
      element.textContent = ''; // megabytes that nobody needs twice
    }
    for (const id of described.traces) {
      if (!traces.has(id)) return { problem: `This report is damaged: the trace ${id} is missing. Copy it again.` };
    }
    return { described, traces };
  } catch (problem) {
    if (problem instanceof TraceError) return { problem: problem.message };
    return { problem: 'This report is damaged: what was written into it cannot be read. Copy it again.' };
  }
}
