// What the filter box offers while somebody writes an expression. The names are the control plane's own table of them.
import fields from "./fields.json";

export interface Offer {
  /** What it stands for in the list. */
  label: string;
  /** What is put in the place of `from` to the caret. */
  text: string;
  about: string;
  from: number;
}

const FIELDS = fields.map(([name, kind, about]) => ({ name: name ?? "", kind: kind ?? "", about: (about ?? "").replaceAll("`", "") , values: [...(about ?? "").matchAll(/`([A-Za-z0-9_-]+)`/g)].map((found) => found[1]!) }));
const FUNCTIONS: [string, string][] = [
  ["has(", "Whether something is known"], ["version(\"", "A version, compared piece by piece"], ["duration(\"", "A span: 90s, 1h30m, 7d"],
  ["timestamp(\"", "A time: 2025-01-15T10:30:00Z"], ["now", "The time of the request"],
];
const METHODS: [string, string][] = [
  ["startsWith(\"", "Begins with"], ["endsWith(\"", "Ends with"], ["contains(\"", "Has it in it"], ["lowerAscii()", "In small letters"], ["size()", "How long it is"],
];
const MOST = 8;

/** Offers for `text` with the caret at `caret`. */
export function offers(text: string, caret: number): Offer[] {
  const before = text.slice(0, caret);
  const value = /([A-Za-z_][\w.]*)\s*(?:==|!=)\s*(["'])([A-Za-z0-9_-]*)$/.exec(before);
  if (value) {
    const field = FIELDS.find((field) => field.name === value[1]);
    const begun = value[3] ?? "";
    const found = (field?.values ?? []).filter((of) => of.startsWith(begun) && of !== begun);
    return found.slice(0, MOST).map((of) => ({ label: of, text: `${of}${value[2]}`, about: field?.about ?? "", from: caret - begun.length }));
  }
  const quotes = (before.match(/"/g) ?? []).length;
  if (quotes % 2 === 1) return [];
  const word = /[A-Za-z_][\w.]*$/.exec(before)?.[0] ?? "";
  if (!word) return [];
  const from = caret - word.length;
  const dot = word.lastIndexOf(".");
  const owner = dot > 0 ? FIELDS.find((field) => field.name === word.slice(0, dot)) : undefined;
  if (owner && owner.kind === "text") {
    const begun = word.slice(dot + 1);
    return METHODS.filter(([name]) => name.startsWith(begun)).map(([name, about]) => ({ label: name.replace(/[("]+$/, "()"), text: name, about, from: from + dot + 1 }));
  }
  const named = [...FIELDS.map(({ name, about }) => ({ label: name, text: name, about, from })), ...FUNCTIONS.map(([text, about]) => ({ label: text.replace(/[("]+$/, "()"), text, about, from }))];
  const low = word.toLowerCase();
  const begins = named.filter((offer) => offer.label.toLowerCase().startsWith(low) && offer.text !== word);
  const holds = named.filter((offer) => !begins.includes(offer) && offer.label.toLowerCase().includes(low) && offer.text !== word);
  return [...begins, ...holds].slice(0, MOST);
}

/** Whether `text` is a word to look for in names rather than an expression. */
export function isWord(text: string): boolean {
  return /^[\p{L}\p{N}._ -]+$/u.test(text) && !FIELDS.some((field) => field.name === text.trim() && field.kind === "true or false") && !/\bin\b/.test(text);
}

export const EXAMPLES: [string, string][] = [
  ["Needs somebody", 'health_status != "healthy"'],
  ["Little space", "disk.used_percent > 85"],
  ["Old Docker", 'docker.version < version("24.0")'],
  ["Updates or a reboot wait", "reboot_pending || security_updates > 0"],
  ["Not booted for 90 days", 'now - booted_at > duration("90d")'],
  ["Little hardened", "hardening_score < 50"],
  ["Not ready for deployments", 'qualification_status != "qualified"'],
];
