/** A clock that stands still until a test moves it. Tests with timeouts and lost leases finish in milliseconds. */
import { setImmediate } from 'node:timers';
import { MessageChannel } from 'node:worker_threads';
import type { Clock, Instant } from '../clock.ts';

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/**
 * A clock under the control of a test. `memoryStore({ clock })` uses it for the store and for every locker on that store.
 *
 * @example
 * const clock = new ManualClock()
 * await using locker = createLocker({ store: memoryStore({ clock }) })
 * await clock.advance(60_000)
 */
export class ManualClock implements Clock {
  #monotonicMs = 1_000;
  /** A whole number, so that fractions of a millisecond do not add up to a difference between the clocks. */
  #wallAheadMs = Date.UTC(2030, 0, 1) - 1_000;
  readonly #timers = new Set<Timer>();
  #holdCount = 0;

  /** The number of pending timers. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** True while something keeps the process alive. */
  get isHeld(): boolean {
    return this.#holdCount > 0;
  }

  now(): Instant {
    return { monotonicMs: this.#monotonicMs, wallMs: this.#monotonicMs + this.#wallAheadMs };
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + delayMs, callback };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  hold(): () => void {
    this.#holdCount += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holdCount -= 1;
      isHeld = false;
    };
  }

  /**
   * Moves both clocks forward by `ms` milliseconds. Calls each timer at its own time, in order, and lets pending promises settle.
   *
   * @example
   * await clock.advance(15_000)
   */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms;
    const eventLoop = new EventLoop();
    await eventLoop.turn();
    for (let timer = this.#findNext(untilMs); timer !== undefined; timer = this.#findNext(untilMs)) {
      this.#moveTo(Math.max(timer.atMs, this.#monotonicMs));
      this.#timers.delete(timer);
      timer.callback();
      await eventLoop.turn();
    }
    eventLoop.close();
    this.#moveTo(Math.max(untilMs, this.#monotonicMs));
  }

  /**
   * Moves both clocks forward by `ms` milliseconds and calls no timer, like a process that is stopped and continued.
   * The next `advance` calls the timers.
   *
   * @example
   * clock.freeze(60_000)
   */
  freeze(ms: number): void {
    this.#moveTo(this.#monotonicMs + ms);
  }

  /**
   * Moves the wall clock alone by `ms` milliseconds, like a machine that sleeps or whose time is set.
   *
   * @example
   * clock.jumpWall(-5_000)
   */
  jumpWall(ms: number): void {
    this.#wallAheadMs += ms;
  }

  /**
   * Lets pending promises settle, without moving a clock.
   *
   * @example
   * await clock.settle()
   */
  async settle(): Promise<void> {
    const eventLoop = new EventLoop();
    await eventLoop.turn();
    eventLoop.close();
  }

  #findNext(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }

  #moveTo(monotonicMs: number): void {
    this.#monotonicMs = monotonicMs;
  }
}

const isDeno = process.versions['deno'] !== undefined;

/**
 * Waits for turns of the event loop: all promises that can settle have settled then.
 *
 * Messages do it, because no test runner fakes them. Fake timers replace `setImmediate`, in `node:timers` too. Deno delivers messages
 * before other promises have settled, and its fake timers leave `node:timers` alone.
 */
class EventLoop {
  readonly #channel = new MessageChannel();
  #onTurn = (): void => undefined;

  constructor() {
    this.#channel.port2.on('message', () => {
      this.#onTurn();
    });
  }

  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#onTurn = resolve;
      if (isDeno) setImmediate(resolve);
      else this.#channel.port1.postMessage(undefined);
    });
  }

  close(): void {
    this.#channel.port2.close();
  }
}
