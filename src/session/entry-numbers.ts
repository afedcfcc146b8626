/**
 * The numbers in the keys of a session's entries: in each queue the lowest number that no other entry of the session has.
 *
 * Numbers are used again. etcd keeps a deleted key in its index until the next compaction, and every read of the queue passes it, so a
 * new key for each lock would make a hot name slower and slower. A late request for an old key compares another revision and fails.
 */
export class EntryNumbers {
  /** A bit for each number in use, by queue. */
  readonly #taken = new Map<string, number>();
  #lastBeyond = 32;

  take(queue: string): number {
    const taken = this.#taken.get(queue) ?? 0;
    const lowest = ~taken & (taken + 1);
    // More than 32 entries at once: the numbers beyond the bits are never used again.
    if (lowest === 0) return ++this.#lastBeyond;
    this.#taken.set(queue, taken | lowest);
    return 32 - Math.clz32(lowest);
  }

  /** Frees the number of an entry that is not in etcd and can no longer be created there. */
  free(queue: string, n: number): void {
    if (n > 32) return;
    const taken = (this.#taken.get(queue) ?? 0) & ~(1 << (n - 1));
    if (taken === 0) this.#taken.delete(queue);
    else this.#taken.set(queue, taken);
  }
}
