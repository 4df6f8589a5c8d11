// What a browser keeps for its user: how they like to look at things, never anything of the fleet.

export function kept<T>(key: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(`muster.${key}`);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

export function keep(key: string, value: unknown): void {
  try {
    localStorage.setItem(`muster.${key}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; then it lasts as long as the page.
  }
}
