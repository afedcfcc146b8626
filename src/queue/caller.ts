/**
 * One `lock()` or `tryLock()` call that waits: its promise, and what can end the waiting before it gets a lock.
 *
 * A caller whose time is up, or whose signal aborts, leaves its queue in the same tick. Its promise may be rejected a little later.
 */
import { onAbort, reasonOf } from '../abort.ts';
import type { Clock, Instant } from '../clock.ts';
import { deferred } from '../deferred.ts';
import type { ResolvedLockOptions } from '../options/options.ts';

/** What happens at the end of a caller's `timeoutMs`. */
export interface TimeLimit<T> {
  /** How long before the end `prepare` is called, in milliseconds. */
  readonly leadMs: number;
  prepare(caller: Caller<T>): void;
  /** Returns the error of a caller whose time is up. The caller is still in its queue. */
  end(caller: Caller<T>): Error | Promise<Error>;
}

/** The part of a caller that its hold uses. */
export type HoldingCaller = Pick<Caller<unknown>, 'joinedAt' | 'options'>;

export class Caller<T> {
  readonly options: ResolvedLockOptions;
  readonly joinedAt: Instant;
  /** Whether etcd has, or had, an entry for it. From then on only timeout, abort, close and a final error end the waiting. */
  wasEnqueued = false;
  /** Whether an acquisition serves it, or did so. */
  hasAcquisition = false;
  /** Called once when it turns out that the caller has to wait. */
  onBusy: (() => void) | undefined;
  /** The number of sightings of its local queue when it joined. */
  sightingsBefore = 0;
  readonly #settled = deferred<T>();
  readonly #cleanUp: (() => void)[] = [];
  #isWaiting = true;
  #knowsBusy = false;
  #onEnd: () => void = () => undefined;

  constructor(clock: Clock, options: ResolvedLockOptions, limit?: TimeLimit<T>) {
    const { timeoutMs, signal } = options;
    this.joinedAt = clock.now();
    this.options = options;
    this.#cleanUp.push(clock.hold());
    if (signal !== undefined) {
      const abort = (): void => {
        this.reject(reasonOf(signal));
      };
      this.#cleanUp.push(onAbort(signal, abort));
    }
    // A timer of Node ends after 25 days at the latest.
    if (timeoutMs !== undefined && timeoutMs !== Infinity && limit !== undefined) this.#limit(clock, timeoutMs, limit);
  }

  get promise(): Promise<T> {
    return this.#settled.promise;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Whether another holder or waiter was before it, by a response of etcd or because this process holds the name. */
  get knowsBusy(): boolean {
    return this.#knowsBusy;
  }

  set knowsBusy(isBusy: boolean) {
    const isNews = isBusy && !this.#knowsBusy;
    this.#knowsBusy = isBusy;
    if (isNews) this.onBusy?.();
  }

  /** Calls `callback` when the waiting ends, with or without a lock. */
  onSettled(callback: () => void): void {
    this.#cleanUp.push(callback);
  }

  /** Calls `callback` if the waiting ends without a lock. Replaces an earlier callback. */
  onEndWithoutLock(callback: () => void): void {
    this.#onEnd = callback;
  }

  resolve(value: T): void {
    if (!this.#isWaiting) return;
    this.#stopWaiting();
    this.#settled.resolve(value);
  }

  reject(reason: unknown): void {
    if (this.#end()) this.#settled.reject(reason);
  }

  // One timer at a time: the second is set when the first has fired. After a pause of the process, responses arrive in between.
  #limit(clock: Clock, timeoutMs: number, limit: TimeLimit<T>): void {
    const untilMs = this.joinedAt.monotonicMs + timeoutMs;
    const end = (): void => {
      if (!this.#isWaiting) return;
      const error = limit.end(this);
      this.#end();
      if (error instanceof Error) this.#settled.reject(error);
      else void error.then(this.#settled.reject);
    };
    const prepare = (): void => {
      limit.prepare(this);
      // The monotonic clock alone: a wall clock that is set forward uses up no time.
      cancel = clock.setTimer(Math.max(0, untilMs - clock.now().monotonicMs), end);
    };
    let cancel = clock.setTimer(timeoutMs - limit.leadMs, prepare);
    this.#cleanUp.push(() => {
      cancel();
    });
  }

  #end(): boolean {
    if (!this.#isWaiting) return false;
    this.#stopWaiting();
    this.#onEnd();
    return true;
  }

  #stopWaiting(): void {
    this.#isWaiting = false;
    for (const cleanUp of this.#cleanUp.splice(0)) cleanUp();
  }
}
