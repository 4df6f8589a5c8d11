// What a host says of itself is shown as text and nothing else. Svelte's text nodes keep it from becoming markup; here it
// is kept from steering the text around it: control characters and those that turn or hide writing are taken out of
// every answer before anything sees it. Line breaks and tabs stay.

const UNWANTED =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
/** How an answer looks that may hold any: in JSON the lower ones are escaped. */
const SUSPECT = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\\u|\\[bfr]/;

/** `text` without what steers text. */
export function clean(text: string): string {
  return text.replace(UNWANTED, "");
}

/** JSON with every string clean, names of fields included. */
export function parse(json: string): unknown {
  if (!SUSPECT.test(json)) return JSON.parse(json);
  return JSON.parse(json, (_, value: unknown) => {
    if (typeof value === "string") return clean(value);
    if (value && typeof value === "object" && !Array.isArray(value)) {
      const entries = Object.entries(value);
      if (entries.some(([key]) => clean(key) !== key)) return Object.fromEntries(entries.map(([key, of]) => [clean(key), of]));
    }
    return value;
  });
}
