/**
 * Clocks, timers, and what keeps the process alive. Tests inject their own `Clock`.
 *
 * Every instant is read on two clocks, because each of them can fail: the monotonic clock stops while the machine sleeps, and the
 * wall clock jumps. A deadline has passed as soon as one of the two clocks has reached it.
 */

/** One moment, read on both clocks at once, in milliseconds. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** The time source of a store and of all lockers on it. */
export interface Clock {
  /** Reads both clocks. */
  now(): Instant;
  /** Calls `callback` once after `delayMs` milliseconds. Never keeps the process alive. Returns a function that cancels the timer. */
  setTimer(delayMs: number, callback: () => void): () => void;
  /** Keeps the process alive until the returned function is called. */
  hold(): () => void;
}

export const addMs = (instant: Instant, ms: number): Instant => ({
  monotonicMs: instant.monotonicMs + ms,
  wallMs: instant.wallMs + ms,
});

/** Returns the milliseconds from `now` to `deadline` on the clock that reaches it first. Negative after the deadline. */
export const msUntil = (deadline: Instant, now: Instant): number =>
  Math.min(deadline.monotonicMs - now.monotonicMs, deadline.wallMs - now.wallMs);

/** The longest delay of Node's timers. A timer with a longer one fires at once. */
export const longestTimerMs = 2_147_483_647;

let holdCount = 0;
let holdTimer: NodeJS.Timeout | undefined;

export const systemClock: Clock = {
  now: () => ({ monotonicMs: performance.now(), wallMs: Date.now() }),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, longestTimerMs)).unref();
    return () => {
      clearTimeout(timer);
    };
  },
  // All holds share one timer, because a timer of its own costs more than a call that holds.
  hold() {
    if (holdCount++ === 0) holdTimer = setInterval(() => undefined, longestTimerMs);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (--holdCount === 0) clearInterval(holdTimer);
    };
  },
};

/** Keeps the process alive until the promise of `task` settles. Calls `task` synchronously. */
export async function keepAlive<T>(clock: Clock, task: () => Promise<T>): Promise<T> {
  const endHold = clock.hold();
  try {
    return await task();
  } finally {
    endHold();
  }
}

/** Waits until `promise` settles, for at most `limitMs` milliseconds. Rejects if `promise` rejects within that time. */
export async function waitAtMost(clock: Clock, limitMs: number, promise: Promise<unknown>): Promise<void> {
  let cancel = (): void => undefined;
  const timeout = new Promise<void>((resolve) => {
    cancel = clock.setTimer(limitMs, resolve);
  });
  try {
    await Promise.race([promise, timeout]);
  } finally {
    cancel();
  }
}
