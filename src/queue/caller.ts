/**
 * One call that waits for a lock: its promise, and what may end the waiting before the lock is had.
 *
 * Whoever gives up leaves the queue in the same turn; the promise may be rejected a little later, when the reason is known.
 */
import { onAbort } from '../abort.ts';
import type { Clock, Instant } from '../clock.ts';
import { deferred } from '../deferred.ts';
import type { ResolvedLockOptions } from '../options/options.ts';

export class Caller<T> {
  readonly options: ResolvedLockOptions;
  /** Once true, only timeout, abort or close end the waiting. */
  wasEnqueued = false;
  readonly joinedAt: Instant;
  readonly #settled = deferred<T>();
  readonly #cleanUp: (() => void)[] = [];
  #isWaiting = true;
  /** Called once, when it gives up. */
  #onEnd: () => void = () => undefined;

  constructor(clock: Clock, asked: ResolvedLockOptions, onTimeout: () => T | Promise<T>) {
    const { timeoutMs, signal } = asked;
    this.joinedAt = clock.now();
    this.options = asked;
    this.#cleanUp.push(clock.hold());
    if (signal !== undefined) {
      const abort = (): void => {
        this.reject(signal.reason);
      };
      this.#cleanUp.push(onAbort(signal, abort));
    }
    if (timeoutMs !== undefined) {
      this.#cleanUp.push(
        clock.setTimer(timeoutMs, () => {
          if (this.#end()) this.#settled.resolve(onTimeout());
        }),
      );
    }
  }

  get promise(): Promise<T> {
    return this.#settled.promise;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  onEnd(callback: () => void): void {
    this.#onEnd = callback;
  }

  resolve(value: T): void {
    if (this.#end(false)) this.#settled.resolve(value);
  }

  reject(reason: unknown): void {
    if (this.#end()) this.#settled.reject(reason);
  }

  #end(givesUp = true): boolean {
    if (!this.#isWaiting) return false;
    this.#isWaiting = false;
    for (const cleanUp of this.#cleanUp.splice(0)) cleanUp();
    if (givesUp) this.#onEnd();
    return true;
  }
}
