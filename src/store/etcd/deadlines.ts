/**
 * Ends the commits whose time is up, with one timer for all of them.
 *
 * A timer for each commit would cost more than the rest of its way through the batcher.
 */

export interface Limited {
  /** By `performance.now()`. */
  readonly until: number;
  /** Called once, when `until` has passed. */
  expire(): void;
}

export class Deadlines {
  readonly #items = new Set<Limited>();
  #wakesAt = Infinity;
  #timer: NodeJS.Timeout | undefined;

  add(item: Limited): void {
    this.#items.add(item);
    if (item.until < this.#wakesAt) this.#wakeAt(item.until);
  }

  delete(item: Limited): void {
    // The timer stays: it finds nothing to do, and most commits end long before it.
    this.#items.delete(item);
  }

  /** Stops the timer. Commits that are still pending are settled by their requests. */
  close(): void {
    clearTimeout(this.#timer);
    this.#items.clear();
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
    for (const item of this.#items) {
      if (item.until > now) {
        next = Math.min(next, item.until);
      } else {
        this.#items.delete(item);
        item.expire();
      }
    }
    if (next < this.#wakesAt) this.#wakeAt(next);
  }
}
