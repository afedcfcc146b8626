/**
 * Time, as everything here sees it: two clocks and timers, so that tests can inject their own.
 *
 * Two clocks, because each fails in its own way: the monotonic one stands still while a machine sleeps, the wall clock
 * jumps. A deadline counts as passed as soon as either of them says so.
 */

/** One moment, read on both clocks at once. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface Clock {
  now(): Instant;
  /** Calls `callback` once after `delayMs`; never keeps the process alive. The answer cancels it. */
  setTimer(delayMs: number, callback: () => void): () => void;
  /** Keeps the process alive until the answer is called. */
  hold(): () => void;
}

export const addMs = (instant: Instant, ms: number): Instant => ({
  monotonicMs: instant.monotonicMs + ms,
  wallMs: instant.wallMs + ms,
});

/** The time from `now` to `deadline` by whichever clock is further on; negative once it has passed. */
export const msUntil = (deadline: Instant, now: Instant): number =>
  Math.min(deadline.monotonicMs - now.monotonicMs, deadline.wallMs - now.wallMs);

/** The delay that Node's timers still take; beyond it they fire at once. */
export const longestTimerMs = 2_147_483_647;

let holds = 0;
let holdingTimer: NodeJS.Timeout | undefined;

export const systemClock: Clock = {
  now: () => ({ monotonicMs: performance.now(), wallMs: Date.now() }),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, longestTimerMs)).unref();
    return () => {
      clearTimeout(timer);
    };
  },
  // One timer for all: what is held is the process, and a timer a call would cost more than the call.
  hold() {
    if (holds++ === 0) holdingTimer = setInterval(() => undefined, longestTimerMs);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--holds === 0) clearInterval(holdingTimer);
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

/** Settles as `promise` does, but resolves where that takes longer than `limitMs`. */
export async function within(clock: Clock, limitMs: number, promise: Promise<unknown>): Promise<void> {
  let cancel = (): void => undefined;
  const isOver = new Promise<void>((resolve) => {
    cancel = clock.setTimer(limitMs, resolve);
  });
  try {
    await Promise.race([promise, isOver]);
  } finally {
    cancel();
  }
}
