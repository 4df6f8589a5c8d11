// What a browser says of itself, in a few words. Each also names others that it wants to be taken for: the first that fits is it.

const BROWSERS: [RegExp, string][] = [
  [/\bEdgA?\//, "Edge"], [/\bOPR\//, "Opera"], [/\bFirefox\/|\bFxiOS\//, "Firefox"], [/Chrom(e|ium)\/|\bCriOS\//, "Chrome"], [/\bSafari\//, "Safari"],
];
const SYSTEMS: [RegExp, string][] = [
  [/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS X/, "macOS"], [/CrOS/, "ChromeOS"], [/Linux/, "Linux"],
];

/** `Firefox on Linux`; the agent's own words where it is none of those. */
export function browserOf(agent: string | null | undefined): string {
  if (!agent) return "A browser";
  const named = (of: [RegExp, string][]) => of.find(([known]) => known.test(agent))?.[1];
  const [browser, system] = [named(BROWSERS), named(SYSTEMS)];
  return browser ? (system ? `${browser} on ${system}` : browser) : agent;
}
