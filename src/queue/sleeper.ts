/** The sleep of one loop between two steps. A call of `wake` while it is awake ends its next sleep at once, so no news is lost. */
import type { Clock } from '../clock.ts';

export class Sleeper {
  readonly #clock: Clock;
  #isWoken = false;
  #endSleep: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether it was woken, and has not slept since. */
  get isWoken(): boolean {
    return this.#isWoken;
  }

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#endSleep();
  };

  /** Forgets the news of an entry that is abandoned. They must not cut the pause before the next one short. */
  forget(): void {
    this.#isWoken = false;
  }

  /** Ends the present sleep only. */
  interrupt(): void {
    this.#endSleep();
  }

  /** Sleeps until `wake`, or for `delayMs`. */
  async sleep(delayMs?: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = delayMs === undefined ? undefined : this.#clock.setTimer(delayMs, resolve);
        this.#endSleep = () => {
          cancel?.();
          resolve();
        };
      });
    }
    this.#endSleep = () => undefined;
    this.#isWoken = false;
  }
}
