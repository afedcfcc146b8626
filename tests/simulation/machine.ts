/**
 * A machine with clocks of its own, and the clock that one locker on it sees.
 *
 * True time is the scheduler's. A machine's clocks run a little faster or slower, its wall clock is set, its monotonic clock stands
 * still while it sleeps. A frozen one runs nothing while time goes on; what falls due meanwhile comes late, in its order.
 */
import type { Clock, Instant } from '../../src/clock.ts';
import type { Prng } from './prng.ts';
import type { Owner, ScheduledEvent, Scheduler } from './scheduler.ts';

export class Machine implements Owner {
  readonly #scheduler: Scheduler;
  readonly #rate: number;
  readonly #monotonicStartMs: number;
  #wallOffsetMs: number;
  #stalledMs = 0;
  #frozenMs = 0;
  #frozenSinceMs: number | undefined;
  #isDead = false;
  #backlog: ScheduledEvent[] = [];
  /** Until when, by true time, its timers may run late though it is awake. */
  settledAtMs = 0;
  /** How often its wall clock was set forward or it slept: either may end a deadline before its time. */
  leaps = 0;

  constructor(scheduler: Scheduler, prng: Prng, drift: number) {
    this.#scheduler = scheduler;
    this.#rate = 1 + prng.between(-drift, drift);
    this.#monotonicStartMs = prng.integer(0, 1_000_000);
    this.#wallOffsetMs = Date.UTC(2030, 0, 1) + prng.integer(-1_000_000, 1_000_000);
  }

  /** Which step of the run it is. */
  get step(): number {
    return this.#scheduler.steps;
  }

  get isFrozen(): boolean {
    return this.#frozenSinceMs !== undefined;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isAwake(): boolean {
    return !this.isFrozen && !this.#isDead;
  }

  /** How long it has been running, by true time, without the times in which it was frozen. */
  get awakeMs(): number {
    return this.#scheduler.nowMs - this.#frozenMs;
  }

  now(): Instant {
    const { nowMs } = this.#scheduler;
    return {
      monotonicMs: this.#monotonicStartMs + (nowMs - this.#stalledMs) * this.#rate,
      wallMs: this.#wallOffsetMs + nowMs * this.#rate,
    };
  }

  /** A timer, which goes by the monotonic clock. */
  after(delayMs: number, callback: () => void): () => void {
    const dueMs = this.now().monotonicMs + Math.max(0, delayMs);
    let cancel = (): void => undefined;
    const arm = (leftMs: number): void => {
      cancel = this.#scheduler.after(
        leftMs / this.#rate,
        () => {
          const left = dueMs - this.now().monotonicMs;
          if (left > 1e-6) arm(left);
          else callback();
        },
        this,
      );
    };
    arm(Math.max(0, delayMs));
    return () => {
      cancel();
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  postpone(event: ScheduledEvent): void {
    this.#backlog.push(event);
  }

  freeze(): void {
    this.#frozenSinceMs = this.#scheduler.nowMs;
  }

  /** `wasAsleep`: the monotonic clock has stood still meanwhile. */
  wake(wasAsleep: boolean): void {
    if (this.#frozenSinceMs === undefined) return;
    const lastedMs = this.#scheduler.nowMs - this.#frozenSinceMs;
    this.#frozenSinceMs = undefined;
    this.#frozenMs += lastedMs;
    if (wasAsleep) {
      this.#stalledMs += lastedMs;
      this.leaps += 1;
    }
    this.#scheduler.resume(this.#backlog.splice(0));
  }

  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms;
    if (ms > 0) this.leaps += 1;
  }

  /** Nothing of it ever runs again. */
  die(): void {
    this.#isDead = true;
    this.#backlog = [];
  }
}

/** More than any step needs. */
const mostReadings = 50_000;

/** A locker's view of a machine's clocks; counts what the locker has set on it. */
export class CountingClock implements Clock {
  readonly #machine: Machine;
  readonly #onSpin: () => void;
  #timers = 0;
  #holds = 0;
  #readings = 0;
  #readAtStep = 0;

  constructor(machine: Machine, onSpin: () => void) {
    this.#machine = machine;
    this.#onSpin = onSpin;
  }

  get timerCount(): number {
    return this.#timers;
  }

  get holdCount(): number {
    return this.#holds;
  }

  now(): Instant {
    this.#watchForSpinning();
    return this.#machine.now();
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    let isSet = true;
    this.#timers += 1;
    const unset = (): void => {
      if (isSet) this.#timers -= 1;
      isSet = false;
    };
    const cancel = this.#machine.after(delayMs, () => {
      unset();
      callback();
    });
    return () => {
      unset();
      cancel();
    };
  }

  // Who goes round and round without waiting for anything would never let the step end.
  #watchForSpinning(): void {
    const { step } = this.#machine;
    this.#readings = step === this.#readAtStep ? this.#readings + 1 : 0;
    this.#readAtStep = step;
    if (this.#readings < mostReadings) return;
    this.#onSpin();
    throw new Error('A loop spins without waiting for anything');
  }

  hold(): () => void {
    let isHeld = true;
    this.#holds += 1;
    return () => {
      if (isHeld) this.#holds -= 1;
      isHeld = false;
    };
  }
}
