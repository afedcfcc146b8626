/**
 * Shares a deletion that one entry learns of with all entries of its kind in this process, in the order of their callers.
 *
 * Each of them has its own watch, and etcd reports to watches in any order. Without this, callers that one deletion admits would get
 * their locks in any order too.
 */
import type { WatchEvent } from '../store/store.ts';

interface Waiting {
  readonly slots: number;
  readonly queuedEntry:
    | {
        readonly isAdmitted: boolean;
        readonly needsLook: boolean;
        readonly predecessors: { onDeletions(events: readonly WatchEvent[], mayAdmit: boolean): void } | undefined;
      }
    | undefined;
}

/** Shares deletions among the entries with `slots`. */
export function shareDeletions(events: readonly WatchEvent[], acquisitions: Iterable<Waiting>, slots: number): void {
  let mayAdmit = true;
  for (const one of [...acquisitions]) {
    const { queuedEntry } = one;
    if (one.slots !== slots || queuedEntry === undefined) continue;
    queuedEntry.predecessors?.onDeletions(events, mayAdmit);
    // Behind an entry that has to look, the others look too, in the same request. So they are not served before it.
    if (!queuedEntry.isAdmitted && queuedEntry.needsLook) mayAdmit = false;
  }
}
