// Figures and times as people read them. Widths are steady, so that a figure that changes moves nothing.

const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
export const NONE = "–";

function scaled(value: number, base: number, units: string[]): string {
  let [left, unit] = [Math.abs(value), 0];
  while (left >= base && unit < units.length - 1) [left, unit] = [left / base, unit + 1];
  const digits = unit === 0 || left >= 100 ? 0 : left >= 10 ? 1 : 2;
  return `${value < 0 ? "-" : ""}${left.toFixed(digits)} ${units[unit]}`;
}

/** Bytes of disks and networks, in powers of 1000. */
export const bytes = (value: number | null | undefined): string => (value == null ? NONE : scaled(value, 1000, DECIMAL));
/** Bytes of memory, in powers of 1024. */
export const memory = (value: number | null | undefined): string => (value == null ? NONE : scaled(value, 1024, BINARY));
export const rate = (value: number | null | undefined): string => (value == null ? NONE : `${scaled(value, 1000, DECIMAL)}/s`);

/** 0 to 100 as `7.3 %` or `62 %`. */
export function percent(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

export function number(value: number | null | undefined, digits = 2): string {
  return value == null ? NONE : value.toLocaleString("en", { maximumFractionDigits: digits });
}

const STEPS: [number, string][] = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Seconds as `3 d 4 h`, `12 min`, `8 s`: two units at most. */
export function span(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  let left = Math.max(0, Math.round(seconds));
  if (left < 1) return "0 s";
  const first = STEPS.findIndex(([size]) => left >= size);
  const words: string[] = [];
  for (const [size, unit] of STEPS.slice(first, first + 2)) {
    const count = Math.floor(left / size);
    if (count > 0) words.push(`${count} ${unit}`);
    left -= count * size;
  }
  return words.join(" ");
}

/** How long something took: `0.3 s`, then as a span. */
export const took = (seconds: number): string => (seconds < 10 ? `${Math.max(0, seconds).toFixed(1)} s` : span(seconds));

/** How long ago, in one unit: `just now`, `4 min ago`. */
export function ago(at: string | number | null | undefined, now: number): string {
  if (at == null) return "never";
  const seconds = Math.round((now - new Date(at).getTime()) / 1000);
  if (seconds < 5) return seconds < -60 ? `in ${oneUnit(-seconds)}` : "just now";
  return `${oneUnit(seconds)} ago`;
}

export function oneUnit(seconds: number): string {
  const [size, unit] = STEPS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
export const full = (at: string | number | null | undefined): string => (at == null ? NONE : FULL.format(new Date(at)));
export const clock = (at: string | number): string => CLOCK.format(new Date(at));
export const day = (at: string | number | null | undefined): string => (at == null ? NONE : DAY.format(new Date(at)));

/** A machine's word as people read it: `needs_setup` as `Needs setup`. */
export function words(word: string | null | undefined): string {
  if (!word) return NONE;
  const text = word.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const plural = (count: number, noun: string): string => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** A machine's sentence with a capital to begin with. */
export const sentence = (text: string | null | undefined): string => (text ? text.charAt(0).toUpperCase() + text.slice(1) : "");
