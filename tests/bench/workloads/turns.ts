/** What the times of a queue's turns tell. */
import type { Turn } from '../protocol.ts';

export interface OwnedTurn extends Turn {
  readonly owner: number;
}

/** In the order in which they were taken. */
export function inOrder(turns: readonly (readonly Turn[])[]): OwnedTurn[] {
  return turns.flatMap((list, owner) => list.map((turn) => ({ ...turn, owner }))).sort((a, b) => a.at - b.at);
}

/** From each release to the next holder, in milliseconds; where that was the same process it got back what it gave. */
export function delaysOf(turns: readonly OwnedTurn[], isCounted: (from: OwnedTurn, to: OwnedTurn) => boolean): number[] {
  return turns.slice(1).flatMap((to, index) => {
    const from = turns[index];
    return from !== undefined && isCounted(from, to) ? [to.at - from.until] : [];
  });
}
