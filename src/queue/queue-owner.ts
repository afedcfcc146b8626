/** What a local queue reports to the one that keeps all of them. */
export interface QueueOwner {
  /** The queue has no caller, no acquisition and no held lock. */
  onEmpty(queue: { readonly name: string }): void;
  /** A lock of the queue is no longer held. */
  onHolderGone(): void;
}
