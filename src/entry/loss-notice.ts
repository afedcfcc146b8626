/** The second phase of a loss: it notifies the holder in a microtask, or earlier if the user reads the handle. */
export class LossNotice {
  #pending: (() => void) | undefined;

  /** Calls `notify` in a microtask, or when `deliver` is called. */
  schedule(notify: () => void): void {
    this.#pending = notify;
    queueMicrotask(() => {
      this.deliver();
    });
  }

  /** Notifies the holder now, if that has not happened yet. */
  deliver(): void {
    const notify = this.#pending;
    this.#pending = undefined;
    notify?.();
  }
}
