/** Numbers in words and digits, the same way everywhere. */

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

/** 1234567 → "1,234,567". */
export const whole = (value: number): string => plain.format(value);
/** 1234567 → "1.23M". */
export const short = (value: number): string => compact.format(value);

/** A share from 0 to 1: 0.423 → "42.3%", 0.00012 → "0.012%". */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return '–';
  const value = share * 100;
  if (value === 0) return '0%';
  if (Math.abs(value) < 0.001) return value < 0 ? '> −0.001%' : '< 0.001%';
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 0.1 ? 1 : 3;
  return `${minus(value.toFixed(digits))}%`;
}

/** Three significant digits, with a true minus. */
export function number(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '–' : value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
    return `${minus(mantissa)} × 10${raised(Number(exponent))}`;
  }
  return minus(size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(digits))));
}
/** The same with its sign always. */
export const signed = (value: number, digits = 3): string =>
  value > 0 ? `+${number(value, digits)}` : number(value, digits);

const minus = (text: string): string => text.replace('-', '−');
const RAISED = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const raised = (value: number): string =>
  (value < 0 ? '⁻' : '') + [...String(Math.abs(value))].map((digit) => RAISED[Number(digit)]).join('');

/** Bytes as people say them. */
export function size(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${bytes < 10 && unit > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** Nats as bits. */
export const bits = (nats: number): number => nats / Math.LN2;

/** A trace in a list: what it is of, who made it, from which seed. */
export function sayKept({ title, model, seed }: { title: string; model: string; seed: number | null }): string {
  const letters = [...title.replace(/\s+/g, ' ').trim()];
  const short = letters.length > 40 ? `${letters.slice(0, 40).join('')}…` : letters.join('');
  return `${seed === null ? 'read' : 'run'} “${short}”, ${model}${seed === null ? '' : `, seed ${seed}`}`;
}
