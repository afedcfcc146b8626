/** What a local queue reports to the one that keeps all of them. */
import type { KeptEntries } from './kept-entries.ts';

export interface QueueOwner {
  /** The kept entries of all queues. */
  readonly kept: KeptEntries;
  /** The queue has no caller, no acquisition and no held lock. */
  onEmpty(queue: { readonly name: string }): void;
  /** A lock of the queue is no longer held. */
  onHolderGone(): void;
}
