/**
 * One `lock()` or `tryLock()` call that waits: its promise, and what can end the waiting before it gets a lock.
 *
 * A caller whose time is up, or whose signal aborts, leaves its queue in the same tick. Its promise may be rejected a little later.
 */
import { onAbort } from '../abort.ts';
import type { Clock, Instant } from '../clock.ts';
import { deferred } from '../deferred.ts';
import type { ResolvedLockOptions } from '../options/options.ts';

export class Caller<T> {
  readonly options: ResolvedLockOptions;
  readonly joinedAt: Instant;
  /** Whether etcd has, or had, an entry for it. From then on only timeout, abort and close end the waiting. */
  wasEnqueued = false;
  readonly #settled = deferred<T>();
  readonly #cleanUp: (() => void)[] = [];
  #isWaiting = true;
  #onEnd: () => void = () => undefined;

  constructor(clock: Clock, options: ResolvedLockOptions, onTimeout: () => T | Promise<T>) {
    const { timeoutMs, signal } = options;
    this.joinedAt = clock.now();
    this.options = options;
    this.#cleanUp.push(clock.hold());
    if (signal !== undefined) {
      const abort = (): void => {
        this.reject(signal.reason);
      };
      this.#cleanUp.push(onAbort(signal, abort));
    }
    // A timer of Node ends after 25 days at the latest.
    if (timeoutMs !== undefined && timeoutMs !== Infinity) {
      const endInTime = (): void => {
        if (this.#end()) this.#settled.resolve(onTimeout());
      };
      this.#cleanUp.push(clock.setTimer(timeoutMs, endInTime));
    }
  }

  get promise(): Promise<T> {
    return this.#settled.promise;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** Calls `callback` if the waiting ends without a lock. */
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
