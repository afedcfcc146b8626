/**
 * The numbers in the keys of a session's entries: in each queue the lowest that no other entry of the session bears there now.
 *
 * Numbers are used again, as etcd keeps a deleted key in its index until the next compaction and every read of the queue passes it: a
 * hot name with a new key for each turn gets slower with each. An old key's late requests find another revision than the one that they
 * compare.
 */
export class EntryNumbers {
  /** By queue, a bit for each number that is borne there. */
  readonly #taken = new Map<string, number>();
  #lastBeyond = 32;

  take(queue: string): number {
    const taken = this.#taken.get(queue) ?? 0;
    const lowest = ~taken & (taken + 1);
    // So many at once share the name or race for it; those beyond the bits that there are get a number of their own.
    if (lowest === 0) return ++this.#lastBeyond;
    this.#taken.set(queue, taken | lowest);
    return 32 - Math.clz32(lowest);
  }

  /** To be called once the entry of that number is not in etcd and cannot come there any more. */
  free(queue: string, n: number): void {
    if (n > 32) return;
    const taken = (this.#taken.get(queue) ?? 0) & ~(1 << (n - 1));
    if (taken === 0) this.#taken.delete(queue);
    else this.#taken.set(queue, taken);
  }
}
