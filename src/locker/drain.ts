/** The time in which held locks may still be released after `close()`. It ends early when none is held. */
import { type Clock, keepAlive } from '../clock.ts';
import { deferred } from '../deferred.ts';

export class Drain {
  readonly #clock: Clock;
  readonly #timeOver = deferred();
  #untilMs = Infinity;
  #cancelTimer: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the drain after `drainMs` from now, if that is earlier than its present end. */
  limit(drainMs: number): void {
    const untilMs = this.#clock.now().monotonicMs + drainMs;
    if (untilMs >= this.#untilMs) return;
    this.#untilMs = untilMs;
    this.#cancelTimer();
    if (drainMs === 0) this.#timeOver.resolve();
    else this.#cancelTimer = this.#clock.setTimer(drainMs, this.#timeOver.resolve);
  }

  /** Waits until `released` resolves or the time is over. Keeps the process alive meanwhile. */
  async wait(released: Promise<void>): Promise<void> {
    await keepAlive(this.#clock, () => Promise.race([released, this.#timeOver.promise]));
    this.#untilMs = 0;
    this.#cancelTimer();
  }
}
