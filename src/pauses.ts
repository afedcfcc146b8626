/** Pauses between retries, which end early when there is nothing left to retry for. */
import type { Clock } from './clock.ts';

export class Pauses {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #isOver = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Waits for `delayMs` milliseconds, or until `end`. */
  wait(delayMs: number): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#pending.delete(done);
        resolve();
      };
      const cancel = this.#clock.setTimer(delayMs, done);
      this.#pending.add(done);
    });
  }

  /** Ends all pauses, now and from now on. */
  end(): void {
    this.#isOver = true;
    for (const done of [...this.#pending]) done();
  }
}
