/** Computes hand-over delays from the times of holds. */
import type { Hold } from '../protocol.ts';

export interface OwnedHold extends Hold {
  readonly owner: number;
}

/** Returns the holds of all processes in the order of their start. */
export function inOrder(holds: readonly (readonly Hold[])[]): OwnedHold[] {
  return holds.flatMap((list, owner) => list.map((hold) => ({ ...hold, owner }))).sort((a, b) => a.at - b.at);
}

/** Returns the time from each release to the next hold in milliseconds. `isCounted` selects the pairs, for instance of different processes. */
export function delaysOf(holds: readonly OwnedHold[], isCounted: (from: OwnedHold, to: OwnedHold) => boolean): number[] {
  return holds.slice(1).flatMap((to, index) => {
    const from = holds[index];
    return from !== undefined && isCounted(from, to) ? [to.at - from.until] : [];
  });
}
