/**
 * Ends the commits whose time is up, with one timer for all of them.
 *
 * A timer for each commit would cost more than the rest of its way through the batcher. A list of all commits would cost less, but
 * their owner has one anyway: it is asked for them when the timer fires.
 */

export interface Limited {
  /** By `performance.now()`. */
  readonly until: number;
  /** Called when `until` has passed. Does nothing if the item is settled. */
  expire(): void;
}

export class Deadlines {
  readonly #pending: () => Iterable<Limited>;
  #wakesAt = Infinity;
  #timer: NodeJS.Timeout | undefined;

  /** @param pending returns the items that may have to expire */
  constructor(pending: () => Iterable<Limited>) {
    this.#pending = pending;
  }

  /** Takes in a new item. The timer finds nothing to do for most items, because they end long before it. */
  add(item: Limited): void {
    if (item.until < this.#wakesAt) this.#wakeAt(item.until);
  }

  /** Stops the timer. Commits that are still pending are settled by their requests. */
  close(): void {
    clearTimeout(this.#timer);
  }

  #wakeAt(at: number): void {
    clearTimeout(this.#timer);
    this.#wakesAt = at;
    this.#timer = setTimeout(
      () => {
        this.#expireAll();
      },
      Math.ceil(at - performance.now()),
    ).unref();
  }

  #expireAll(): void {
    this.#wakesAt = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const item of this.#pending()) {
      if (item.until > now) next = Math.min(next, item.until);
      else item.expire();
    }
    if (next < this.#wakesAt) this.#wakeAt(next);
  }
}
