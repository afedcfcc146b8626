/**
 * The order of one client: what must be decided before what was asked for later may begin, name by name.
 *
 * A request that waits its turn is decided as soon as it is in the line, so it delays nobody; `ifAvailable` and `steal` are decided by
 * an answer of etcd. It stands for the specification's lock task queue, as far as one client can tell the difference.
 */
export class ClientOrder {
  readonly #last = new Map<string, Promise<void>>();
  readonly #releasing = new Map<string, Set<Promise<void>>>();

  /** Calls `step` at once, or where something of the name is not decided yet, after that; what it answers must not reject. */
  run(name: string, step: () => Promise<void> | undefined): void {
    const before = this.#last.get(name);
    const decided = before === undefined ? step() : before.then(step);
    if (decided === undefined) return;
    const last = decided.finally(() => {
      if (this.#last.get(name) === last) this.#last.delete(name);
    });
    this.#last.set(name, last);
  }

  /** Resolves once all that was asked for so far is decided. */
  async whenDecided(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** A lock is on its way out until `released` resolves. */
  async trackRelease(name: string, released: Promise<void>): Promise<void> {
    const leaving = this.#releasing.get(name) ?? new Set();
    this.#releasing.set(name, leaving.add(released));
    await released;
    leaving.delete(released);
    if (leaving.size === 0) this.#releasing.delete(name);
  }

  /** Resolves once the locks that are on their way out are gone. */
  async whenReleased(name: string): Promise<void> {
    await Promise.all([...(this.#releasing.get(name) ?? [])]);
  }
}
