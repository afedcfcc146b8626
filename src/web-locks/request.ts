/**
 * One request, from its call to its result: "request a lock" of the specification, on the local queues of a locker.
 *
 * The promise settles once. It takes the result of the callback after the lock is released. It rejects earlier if `signal` aborts while
 * the request waits, or if the lock is stolen or lost while it is held.
 */
import { onAbort, reasonOf } from '../abort.ts';
import { deferred } from '../deferred.ts';
import { exclusive, shared } from '../kind.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { Internals } from '../locker/internals.ts';
import { traced } from '../locker/trace.ts';
import { isAcquireTraced } from '../telemetry/channels.ts';
import { quote } from '../text.ts';
import type { RequestArguments } from './arguments.ts';
import type { ClientOrder } from './client-order.ts';
import { domException, toWaitingError } from './errors.ts';
import { WebLock } from './held-lock.ts';
import type { HeldLock } from './types.ts';

export class Request {
  readonly #internals: Internals;
  readonly #order: ClientOrder;
  readonly #args: RequestArguments;
  readonly #released = deferred<unknown>();
  #isAborted = false;
  #stopListening = (): void => undefined;

  constructor(internals: Internals, order: ClientOrder, args: RequestArguments) {
    this.#internals = internals;
    this.#order = order;
    this.#args = args;
    const { signal } = args.options;
    if (signal === undefined) return;
    this.#stopListening = onAbort(signal, () => {
      this.#isAborted = true;
      this.#released.reject(reasonOf(signal));
    });
  }

  /** The specification's released promise. */
  get promise(): Promise<unknown> {
    return this.#released.promise;
  }

  /** Begins the request. Returns a promise if later requests of the client must wait until this one is decided. */
  begin(): Promise<void> | undefined {
    const { ifAvailable, steal } = this.#args.options;
    if (this.#isAborted) return undefined;
    if (steal) return this.#process(() => this.#steal());
    if (ifAvailable) return this.#process(() => this.#tryLock());
    void this.#process(() => this.#lock());
    return undefined;
  }

  async #process(acquire: () => Promise<LockHandle | null>): Promise<void> {
    let lock;
    try {
      lock = await this.#traced(acquire);
    } catch (error) {
      this.#released.reject(toWaitingError(error));
      return;
    } finally {
      // From here on the signal has no effect, even if the callback itself aborts it.
      this.#stopListening();
    }
    if (lock === null) this.#released.resolve(this.#callBack(null));
    else if (this.#isAborted) await this.#release(lock);
    else this.#hold(lock);
  }

  #traced(acquire: () => Promise<LockHandle | null>): Promise<LockHandle | null> {
    if (!isAcquireTraced()) return acquire();
    const { mode, signal } = this.#args.options;
    const options = { slots: mode === 'shared' ? shared : exclusive, timeoutMs: undefined, signal };
    return traced({ clock: this.#internals.context.clock, operation: 'web-locks', names: this.#args.name, options }, acquire);
  }

  #lock(): Promise<LockHandle> {
    return this.#internals.queues.lock(this.#args.name, this.#resolveOptions());
  }

  async #tryLock(): Promise<LockHandle | null> {
    const { name } = this.#args;
    await this.#order.whenReleased(name);
    const locks = await this.#internals.queues.tryLock([name], this.#resolveOptions());
    return locks?.[0] ?? null;
  }

  async #steal(): Promise<LockHandle> {
    const { name } = this.#args;
    const { queues } = this.#internals;
    // Earlier requests of this client are enqueued first, so they may get the lock before it is stolen.
    await queues.whenEnqueued(name);
    return queues.steal(name, this.#resolveOptions());
  }

  #resolveOptions(): ReturnType<Internals['resolve']> {
    const { mode, signal } = this.#args.options;
    return this.#internals.resolve({ slots: mode === 'shared' ? shared : exclusive, signal });
  }

  #hold(lock: LockHandle): void {
    const lost = new AbortController();
    const stopWatching = lock.watchDeletion(this.#internals.context.store);
    const onLoss = (): void => {
      stopWatching();
      const error = domException('AbortError', `Cannot keep lock ${quote(lock.name)}: it was stolen or lost`, lock.signal.reason);
      this.#released.reject(error);
      lost.abort(error);
    };
    if (lock.signal.aborted) onLoss();
    else lock.signal.addEventListener('abort', onLoss, { once: true });

    const result = lock.runHolding(() => this.#callBack(new WebLock(lock, lost.signal)));
    const onSettled = async (): Promise<void> => {
      await this.#release(lock);
      stopWatching();
      this.#released.resolve(result);
    };
    result.then(onSettled, onSettled);
  }

  /** Calls the callback, and returns its result as a promise. The promise rejects if the callback throws. */
  #callBack(lock: HeldLock | null): Promise<unknown> {
    const { callback } = this.#args;
    return new Promise((resolve) => {
      resolve(callback(lock));
    });
  }

  /** Releases the lock, and logs a failure. The request still takes the result of its callback, and the lock ends with its lease. */
  #release(lock: LockHandle): Promise<void> {
    const { logger } = this.#internals.context;
    const released = lock.release().catch((error: unknown) => {
      logger.warn(`etcd-locker: ${String(error)}`);
    });
    return this.#order.trackRelease(lock.name, released);
  }
}
