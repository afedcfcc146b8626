/**
 * The order of the requests of one client, name by name. It has the role of the specification's lock task queue.
 *
 * A request that waits is decided as soon as it has joined the local queue, so it delays no other request. `ifAvailable` and `steal` are
 * decided by a response of etcd, and later requests for the name begin only after that.
 */
export class ClientOrder {
  /** The decision of the newest request of each name, while it is open. */
  readonly #lastDecision = new Map<string, Promise<void>>();
  readonly #releases = new Map<string, Set<Promise<void>>>();

  /**
   * Calls `begin` at once, or after the earlier requests for `name` are decided.
   *
   * @param begin returns a promise that resolves when the request is decided, or undefined if it is decided already
   */
  run(name: string, begin: () => Promise<void> | undefined): void {
    const previous = this.#lastDecision.get(name);
    const decision = previous === undefined ? begin() : previous.then(begin);
    if (decision === undefined) return;
    const last = decision.finally(() => {
      if (this.#lastDecision.get(name) === last) this.#lastDecision.delete(name);
    });
    this.#lastDecision.set(name, last);
  }

  /** Resolves when all requests so far are decided. */
  async whenDecided(): Promise<void> {
    await Promise.all(this.#lastDecision.values());
  }

  /** Notes that a lock of `name` is being released until `released` resolves. Resolves with it. */
  async trackRelease(name: string, released: Promise<void>): Promise<void> {
    const releases = this.#releases.get(name) ?? new Set();
    this.#releases.set(name, releases.add(released));
    await released;
    releases.delete(released);
    if (releases.size === 0) this.#releases.delete(name);
  }

  /** Resolves when the current releases of `name` have ended. */
  async whenReleased(name: string): Promise<void> {
    await Promise.all([...(this.#releases.get(name) ?? [])]);
  }
}
