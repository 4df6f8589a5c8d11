// The servers that somebody marked in the fleet, on their way to a page that does something with them.
class Chosen {
  servers = $state.raw<{ id: string; name: string }[]>([]);
}

export const chosen = new Chosen();
