/** An AbortSignal that counts who listens to it. */
export class CountedSignal {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  #listeners = 0;

  constructor() {
    this.signal = this.#controller.signal;
    const add = this.signal.addEventListener.bind(this.signal);
    const remove = this.signal.removeEventListener.bind(this.signal);
    const known = new Set<unknown>();
    // Those that are called once are gone with the abort, as `once` says.
    this.signal.addEventListener = (...args: Parameters<typeof add>) => {
      if (!known.has(args[1])) this.#listeners += 1;
      known.add(args[1]);
      add(...args);
    };
    this.signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      if (known.delete(args[1])) this.#listeners -= 1;
      remove(...args);
    };
  }

  get listeners(): number {
    return this.signal.aborted ? 0 : this.#listeners;
  }

  abort(): void {
    this.#controller.abort(new AbortReason());
  }
}

/** What our own callers abort with: exactly this must come back. */
export class AbortReason extends Error {
  override readonly name = 'AbortReason';
}
