// Links beside each other that a narrow window cuts off.
import { tick } from "svelte";

/** Keeps the link to the current page in view; `_current` says when it is another one. */
export function currentInView(list: HTMLElement, _current: unknown): { update: () => void } {
  const show = () =>
    void tick().then(() => {
      const link = list.querySelector('[aria-current="page"]')?.getBoundingClientRect();
      const room = list.getBoundingClientRect();
      if (link) list.scrollLeft += link.left + link.width / 2 - (room.left + room.width / 2);
    });
  show();
  return { update: show };
}
