// Short words about what just happened, read out by screen readers, gone after a while.

export interface Notice {
  id: number;
  kind: "ok" | "bad";
  text: string;
}

const SHOWN_MS = 6000;

class Notices {
  list = $state.raw<Notice[]>([]);
  #next = 0;

  tell(text: string, kind: Notice["kind"] = "ok"): void {
    const id = this.#next++;
    this.list = [...this.list.slice(-2), { id, kind, text }];
    // What went wrong stays until it is taken away: nobody reads an error in six seconds who looked elsewhere.
    if (kind === "ok") setTimeout(() => this.drop(id), SHOWN_MS);
  }

  drop(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }
}

export const notices = new Notices();
