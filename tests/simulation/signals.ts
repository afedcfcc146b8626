/** An AbortSignal that counts its listeners. */
export class CountedSignal {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  #listeners = 0;

  constructor() {
    this.signal = this.#controller.signal;
    const add = this.signal.addEventListener.bind(this.signal);
    const remove = this.signal.removeEventListener.bind(this.signal);
    const known = new Set<unknown>();
    // The abort removes listeners that were added with `once`.
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

/** The reason with which callers abort. A call must reject with the same object. */
export class AbortReason extends Error {
  override readonly name = 'AbortReason';
}
