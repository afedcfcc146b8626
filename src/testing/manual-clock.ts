/** A clock that stands still until a test moves it. */
import type { Clock, Instant } from '../clock.ts';

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/**
 * Time in a test's hand: `memoryStore({ clock })` makes the store and every locker on it go by it.
 *
 * @example
 * const clock = new ManualClock()
 * await using locker = createLocker({ store: memoryStore({ clock }) })
 * await clock.advance(60_000)
 */
export class ManualClock implements Clock {
  #monotonicMs = 1_000;
  #wallMs = Date.UTC(2030, 0, 1);
  readonly #timers = new Set<Timer>();
  #holds = 0;

  /** How many timers are set. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** Whether something would keep the process alive. */
  get isHeld(): boolean {
    return this.#holds > 0;
  }

  now(): Instant {
    return { monotonicMs: this.#monotonicMs, wallMs: this.#wallMs };
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + delayMs, callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  hold(): () => void {
    this.#holds += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holds -= 1;
      isHeld = false;
    };
  }

  /** Moves both clocks on by `ms`, and calls each timer that falls due at its own time, in order. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms;
    await this.settle();
    for (let timer = this.#nextBy(untilMs); timer !== undefined; timer = this.#nextBy(untilMs)) {
      this.#moveTo(Math.max(timer.atMs, this.#monotonicMs));
      this.#timers.delete(timer);
      timer.callback();
      await this.settle();
    }
    this.#moveTo(Math.max(untilMs, this.#monotonicMs));
  }

  /** Moves both clocks on by `ms` while nothing runs, as when a process is stopped; timers fall due at the next `advance`. */
  freeze(ms: number): void {
    this.#moveTo(this.#monotonicMs + ms);
  }

  /** Moves the wall clock alone, as when a machine sleeps or its time is set. */
  jumpWall(ms: number): void {
    this.#wallMs += ms;
  }

  /** Lets everything run that waits for no timer. */
  async settle(): Promise<void> {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  #nextBy(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }
}
