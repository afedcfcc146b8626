/**
 * Decides whether a copy of queues is current: false once etcd has been silent for `requestTimeoutMs`.
 *
 * A copy is up to date while its watch is confirmed and a read has been answered since. The time counts from the last response on a
 * watch that broke. No request is sent for this: the watch stream pings a quiet host anyway.
 */
import type { Clock } from '../clock.ts';

export class Freshness {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onStale: () => void;
  #isCurrent = true;
  /** Cancels the timer at whose end the copy stops being current. Undefined while the copy is up to date. */
  #cancelTimer: (() => void) | undefined;

  /** @param onStale called when the copy stops being current, always by a timer */
  constructor(clock: Clock, limitMs: number, onStale: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onStale = onStale;
  }

  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** Takes in that changes may be missed from now on. The last response came `quietMs` milliseconds ago. */
  onBreak(quietMs: number): void {
    // A second break does not prove that etcd responded to the copy in between.
    if (this.#cancelTimer !== undefined || !this.#isCurrent) return;
    this.#cancelTimer = this.#clock.setTimer(Math.max(0, this.#limitMs - quietMs), () => {
      this.#cancelTimer = undefined;
      this.#isCurrent = false;
      this.#onStale();
    });
  }

  /** Takes in that the copy is that of etcd now. Returns whether it was current before. */
  onUpToDate(): boolean {
    const wasCurrent = this.#isCurrent;
    this.stop();
    this.#isCurrent = true;
    return wasCurrent;
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
