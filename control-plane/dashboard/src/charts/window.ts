// Columns of values over time, for charts. A gap is a gap: where seconds are missing, an empty point breaks the line.
import type { Values } from "./tracks";

export class Columns {
  readonly t: number[] = [];
  readonly values = new Map<string, (number | null)[]>();

  /** Adds a moment, in seconds. A moment that is not after the last is left out. */
  push(at: number, values: Values, gapAfter: number): void {
    const last = this.t.at(-1);
    if (last !== undefined) {
      if (at <= last) return;
      if (at - last > gapAfter) this.#row(last + gapAfter / 2, {});
    }
    this.#row(at, values);
  }

  /** Forgets what is before `from`. */
  trim(from: number): void {
    const keep = this.t.findIndex((at) => at >= from);
    const drop = keep < 0 ? this.t.length : Math.max(0, keep - 1);
    if (drop === 0) return;
    this.t.splice(0, drop);
    for (const column of this.values.values()) column.splice(0, drop);
  }

  /** What stands here before `at`, and what `later` has from then on. */
  joined(later: Columns, at: number, gapAfter: number): Columns {
    const joined = new Columns();
    const add = (of: Columns, fits: (moment: number) => boolean) =>
      of.t.forEach((moment, nth) => fits(moment) && joined.push(moment, Object.fromEntries([...of.values].map(([key, column]) => [key, column[nth] ?? null])), gapAfter));
    add(this, (moment) => moment < at);
    add(later, (moment) => moment >= at);
    return joined;
  }

  column(key: string): (number | null)[] {
    return this.values.get(key) ?? new Array<null>(this.t.length).fill(null);
  }

  #row(at: number, values: Values): void {
    for (const key of Object.keys(values)) {
      if (!this.values.has(key)) this.values.set(key, new Array<null>(this.t.length).fill(null));
    }
    this.t.push(at);
    for (const [key, column] of this.values) column.push(values[key] ?? null);
  }
}
