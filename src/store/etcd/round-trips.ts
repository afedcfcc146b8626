/** How long etcd takes to respond: the shortest of the last responses, because a longer one may include a wait in a queue. */
const kept = 4;

export class RoundTrips {
  readonly #times: number[] = [];
  #next = 0;

  add(tookMs: number): void {
    this.#times[this.#next] = tookMs;
    this.#next = (this.#next + 1) % kept;
  }

  /** In milliseconds. Undefined before the first response. */
  get shortestMs(): number | undefined {
    return this.#times.length === 0 ? undefined : Math.min(...this.#times);
  }
}
