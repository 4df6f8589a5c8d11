// The last figures of a server, for its sparklines: a ring that never grows.

export const KEPT = 60;

export class Ring {
  readonly #values = new Float64Array(KEPT);
  #next = 0;
  length = 0;

  push(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % KEPT;
    if (this.length < KEPT) this.length += 1;
  }

  /** The value so many before the newest; `NaN` where there is none. */
  back(steps: number): number {
    return steps < this.length ? (this.#values[(this.#next - 1 - steps + 2 * KEPT) % KEPT] ?? NaN) : NaN;
  }

  /** An SVG path over `width` and `height`, newest at the right; empty below two values. */
  path(width: number, height: number, top: number): string {
    if (this.length < 2) return "";
    const step = width / (KEPT - 1);
    let path = "";
    for (let at = this.length - 1; at >= 0; at -= 1) {
      const share = Math.min(1, Math.max(0, this.back(at) / top));
      path += `${path ? "L" : "M"}${(width - at * step).toFixed(1)} ${((1 - share) * (height - 2) + 1).toFixed(1)}`;
    }
    return path;
  }

  max(): number {
    let max = 0;
    for (let at = 0; at < this.length; at += 1) max = Math.max(max, this.back(at));
    return max;
  }
}
