/**
 * The numbers in the keys of a session's entries: in each queue the lowest number that no other entry of the session has.
 *
 * Numbers are used again. etcd keeps a deleted key in its index until the next compaction, and every read of the queue passes it, so a
 * new key for each lock would make a hot name slower and slower. A late request for an old key compares another revision and fails.
 *
 * A minimum hold leaves its key in etcd after the release. The number of that key is free only when the key is gone.
 */
import { type Clock, systemClock } from '../clock.ts';

export class EntryNumbers {
  /** A bit for each number in use, by queue. */
  readonly #taken = new Map<string, number>();
  readonly #clock: Clock;
  /** The numbers of keys that etcd still keeps. */
  readonly #kept: { readonly queue: string; readonly n: number; readonly untilMs: number }[] = [];
  #lastBeyond = 32;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  take(queue: string): number {
    if (this.#kept.length > 0) this.#freeKept();
    const taken = this.#taken.get(queue) ?? 0;
    const lowest = ~taken & (taken + 1);
    // More than 32 entries at once: the numbers beyond the bits are never used again.
    if (lowest === 0) return ++this.#lastBeyond;
    this.#taken.set(queue, taken | lowest);
    return 32 - Math.clz32(lowest);
  }

  /** Frees the number of an entry that can no longer be created, once `keptMs` have passed and etcd has no such key. */
  free(queue: string, n: number, keptMs = 0): void {
    if (keptMs > 0) {
      this.#kept.push({ queue, n, untilMs: this.#clock.now().monotonicMs + keptMs });
      return;
    }
    if (n > 32) return;
    const taken = (this.#taken.get(queue) ?? 0) & ~(1 << (n - 1));
    if (taken === 0) this.#taken.delete(queue);
    else this.#taken.set(queue, taken);
  }

  /** Returns the numbers whose keys etcd may still keep, with their queues. */
  get kept(): readonly { readonly queue: string; readonly n: number }[] {
    this.#freeKept();
    return this.#kept;
  }

  // In the order of the releases: a number behind one that is kept for longer is only freed later.
  #freeKept(): void {
    const nowMs = this.#clock.now().monotonicMs;
    for (let first = this.#kept[0]; first !== undefined && first.untilMs <= nowMs; first = this.#kept[0]) {
      this.#kept.shift();
      this.free(first.queue, first.n);
    }
  }
}
