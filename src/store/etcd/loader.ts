/**
 * One asynchronous load, shared by all its callers.
 *
 * A load that fails is forgotten, so the next call tries again. Otherwise one failure would last as long as the process.
 */
export class Loader<T> {
  readonly #start: () => Promise<T>;
  #current: Promise<T> | undefined;

  constructor(start: () => Promise<T>) {
    this.#start = start;
  }

  /** The load that is running or has succeeded. */
  get current(): Promise<T> | undefined {
    return this.#current;
  }

  /** Resolves with the result of the current load. Starts one if there is none. */
  async load(): Promise<T> {
    const current = (this.#current ??= this.#start());
    try {
      return await current;
    } catch (error) {
      if (this.#current === current) this.forget();
      throw error;
    }
  }

  /** Makes the next call start a new load. */
  forget(): void {
    this.#current = undefined;
  }
}
