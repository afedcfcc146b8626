/**
 * One request, from the asking to the settling of its promise: "request a lock" of the specification, on the lines of a locker.
 *
 * The promise is settled at most once: by the callback's once the lock is released, or before by `signal` while it waits, by a thief or
 * the end of the lease while it is held.
 */
import { onAbort } from '../abort.ts';
import { deferred } from '../deferred.ts';
import type { Internals } from '../locker/internals.ts';
import { exclusive, shared as sharedKind } from '../kind.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { RequestArguments } from './arguments.ts';
import { domException, waitingError } from './errors.ts';
import { WebLock } from './held-lock.ts';
import type { ClientOrder } from './client-order.ts';
import type { HeldLock } from './types.ts';

export class Request {
  readonly #internals: Internals;
  readonly #order: ClientOrder;
  readonly #asked: RequestArguments;
  readonly #released = deferred<unknown>();
  #isAborted = false;
  #stopListening = (): void => undefined;

  constructor(internals: Internals, turns: ClientOrder, asked: RequestArguments) {
    this.#internals = internals;
    this.#order = turns;
    this.#asked = asked;
    const { signal } = asked.options;
    if (signal === undefined) return;
    this.#stopListening = onAbort(signal, () => {
      this.#isAborted = true;
      this.#released.reject(signal.reason);
    });
  }

  /** The specification's released promise. */
  get promise(): Promise<unknown> {
    return this.#released.promise;
  }

  /** Begins; where what comes later must wait until it is decided, the answer is the promise of that. */
  begin(): Promise<void> | undefined {
    const { ifAvailable, steal } = this.#asked.options;
    if (this.#isAborted) return undefined;
    if (steal) return this.#acquire(() => this.#steal());
    if (ifAvailable) return this.#acquire(() => this.#try());
    void this.#acquire(() => this.#wait());
    return undefined;
  }

  async #acquire(how: () => Promise<LockHandle | null>): Promise<void> {
    let lock;
    try {
      lock = await how();
    } catch (error) {
      this.#released.reject(waitingError(error));
      return;
    } finally {
      // From now on the signal is ignored; the callback may be the one that aborts it.
      this.#stopListening();
    }
    if (lock === null) this.#released.resolve(this.#call(null));
    else if (this.#isAborted) await this.#release(lock);
    else this.#hold(lock);
  }

  #wait(): Promise<LockHandle> {
    return this.#internals.queues.lock(this.#asked.name, this.#ask());
  }

  async #try(): Promise<LockHandle | null> {
    const { name } = this.#asked;
    await this.#order.whenReleased(name);
    const locks = await this.#internals.queues.tryLock([name], this.#ask());
    return locks?.[0] ?? null;
  }

  async #steal(): Promise<LockHandle> {
    const { name } = this.#asked;
    const { queues: lines } = this.#internals;
    // Who was before in line here may have got the lock before it is stolen.
    await lines.whenEnqueued(name);
    return lines.steal(name, this.#ask());
  }

  #ask(): ReturnType<Internals['resolve']> {
    const { mode, signal } = this.#asked.options;
    return this.#internals.resolve({ slots: mode === 'shared' ? sharedKind : exclusive, signal });
  }

  #hold(lock: LockHandle): void {
    const lost = new AbortController();
    const stopWatching = lock.watchDeletion(this.#internals.context.store);
    const lose = (): void => {
      stopWatching();
      const error = domException('AbortError', 'The lock was stolen, or its lease is over', lock.signal.reason);
      this.#released.reject(error);
      lost.abort(error);
    };
    if (lock.signal.aborted) lose();
    else lock.signal.addEventListener('abort', lose, { once: true });

    const waiting = this.#call(new WebLock(lock, lost.signal));
    const settled = async (): Promise<void> => {
      await this.#release(lock);
      stopWatching();
      this.#released.resolve(waiting);
    };
    waiting.then(settled, settled);
  }

  /** What the callback returns, as a promise; one that throws has returned a rejected one. */
  #call(lock: HeldLock | null): Promise<unknown> {
    const { callback } = this.#asked;
    return new Promise((resolve) => {
      resolve(callback(lock));
    });
  }

  /** Whatever becomes of the release, the callback's result is the request's: a lock that cannot be deleted ends with its lease. */
  #release(lock: LockHandle): Promise<void> {
    const { logger } = this.#internals.context;
    const released = lock.release().catch((error: unknown) => {
      logger.warn(`etcd-locker: ${String(error)}`);
    });
    return this.#order.trackRelease(lock.name, released);
  }
}
