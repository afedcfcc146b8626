/**
 * A machine with clocks of its own, and the clock that one locker on it sees.
 *
 * The scheduler has the true time. The clocks of a machine run a little faster or slower. Its wall clock may be set. Its monotonic
 * clock stops while the machine sleeps. A frozen machine runs nothing: the events that fall due run in their order when it wakes.
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
  /** Its timers may run late until this true time, although it is awake. */
  timersLateUntilMs = 0;
  /** How often its wall clock was set forward or it slept. Either may end a deadline early. */
  clockJumps = 0;

  constructor(scheduler: Scheduler, prng: Prng, drift: number) {
    this.#scheduler = scheduler;
    this.#rate = 1 + prng.between(-drift, drift);
    this.#monotonicStartMs = prng.integer(0, 1_000_000);
    this.#wallOffsetMs = Date.UTC(2030, 0, 1) + prng.integer(-1_000_000, 1_000_000);
  }

  /** The number of the step that runs now. */
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

  /** The true time for which it has run, without the times in which it was frozen. */
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

  /** Sets a timer on the monotonic clock, and returns the function that cancels it. */
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

  /** `wasAsleep`: whether the monotonic clock was stopped meanwhile. */
  wake(wasAsleep: boolean): void {
    if (this.#frozenSinceMs === undefined) return;
    const lastedMs = this.#scheduler.nowMs - this.#frozenSinceMs;
    this.#frozenSinceMs = undefined;
    this.#frozenMs += lastedMs;
    if (wasAsleep) {
      this.#stalledMs += lastedMs;
      this.clockJumps += 1;
    }
    this.#scheduler.resume(this.#backlog.splice(0));
  }

  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms;
    if (ms > 0) this.clockJumps += 1;
  }

  /** From now on none of its events runs. */
  die(): void {
    this.#isDead = true;
    this.#backlog = [];
  }
}

/** More readings of the clock than any step needs. */
const maxReadings = 50_000;

/** The clock that one locker sees. It counts the locker's timers and the holds that keep the process alive. */
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
    this.#checkForSpin();
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

  // A loop that waits for nothing would never let the step end.
  #checkForSpin(): void {
    const { step } = this.#machine;
    this.#readings = step === this.#readAtStep ? this.#readings + 1 : 0;
    this.#readAtStep = step;
    if (this.#readings < maxReadings) return;
    this.#onSpin();
    throw new Error('Cannot end this step: a loop reads the clock without waiting for anything');
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
