/** What this process knows about a name without a request: is it busy for a caller? */
import type { Entry } from '../entry/entry.ts';
import type { Acquisition } from './acquisition.ts';

/** What a new caller finds: 'undecided' if only callers without an entry of their own are before it. */
export type Occupancy = 'free' | 'busy' | 'undecided';

/** Reads the clocks. */
export const isHeldNow = (entry: Entry): boolean => entry.session.checkOpen() && entry.isHeld;

/** Whether held locks of this process are in the way of a caller with `slots`. Reads the clocks. */
export function isHeldBefore(holders: readonly Entry[], slots: number): boolean {
  let ofKind = 0;
  for (const entry of holders) {
    if (!isHeldNow(entry)) continue;
    ofKind += 1;
    if (entry.slots !== slots || ofKind >= slots) return true;
  }
  return false;
}

/** Whether holders and waiters of this process, or what they are behind, are in the way of a caller with `slots`. Reads the clocks. */
export function isBusyFor(holders: readonly Entry[], acquisitions: Iterable<Acquisition>, slots: number): boolean {
  if (isHeldBefore(holders, slots)) return true;
  let ofKind = holders.filter(isHeldNow).length;
  for (const one of acquisitions) {
    // An entry without a caller is about to be deleted, and what it was behind may be gone.
    if (one.caller === undefined) continue;
    if (one.isObstructed) return true;
    if (!one.caller.wasEnqueued) continue;
    ofKind += 1;
    if (one.slots !== slots || ofKind >= slots) return true;
  }
  return false;
}
