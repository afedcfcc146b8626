/** `createLocker`: puts the parts together. */
import { NameQueue, type Shared } from './acquire.ts';
import { Caller } from './caller.ts';
import { systemClock } from './clock.ts';
import { deferred } from './deferred.ts';
import { LockerClosedError, LockTimeoutError } from './errors.ts';
import { Heartbeat } from './heartbeat.ts';
import { queueRange } from './keys.ts';
import type { Lock } from './lock.ts';
import {
  checkName,
  type LockerOptions,
  type LockOptions,
  type ResolvedLockOptions,
  type ResolvedOptions,
  resolveLockerOptions,
  resolveLockOptions,
  resolveWatchOptions,
  type WatchOptions,
} from './options.ts';
import type { Context } from './session.ts';
import { Sessions } from './sessions.ts';
import { etcdStore } from './store/etcd/etcd-store.ts';
import { tryAcquire } from './try-acquire.ts';
import { inspectName, type LockDetails, type LockState, readHolder, StateWatch } from './watch.ts';

/** Takes locks; every member works detached, as in `const { lock } = locker`. */
export interface Locker extends AsyncDisposable {
  /**
   * Waits its turn for the lock: first come, first served over all processes.
   *
   * @throws {InvalidOptionsError} the name or an option is not what it must be
   * @throws {LockTimeoutError} `timeoutMs` ran out
   * @throws {LockerClosedError} the locker was closed
   * @throws {EtcdUnavailableError} no answer within `requestTimeoutMs` before there was a place in the queue
   * @throws {EtcdAuthError} wrong credentials, or no right to write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, as for want of space
   * @throws the reason of `signal`, when it aborts the waiting
   * @example
   * await using lock = await locker.lock('orders/42', { timeoutMs: 10_000 })
   */
  lock(this: void, name: string, options?: LockOptions): Promise<Lock>;
  /**
   * Answers at once: the lock, or null where somebody else has it or waits for it; with `timeoutMs` it waits that long.
   *
   * @throws what `lock` throws, but for LockTimeoutError
   * @example
   * await using lock = await locker.tryLock('reports/daily')
   * if (lock === null) return 'somebody else is at it'
   */
  tryLock(this: void, name: string, options?: LockOptions): Promise<Lock | null>;
  /**
   * Runs `fn` under the lock and releases it afterwards; an error of `fn` is never hidden by one of the release.
   *
   * @throws what `lock` and `fn` throw
   * @example
   * const total = await locker.withLock('orders/42', async (lock) => charge(lock.signal))
   */
  withLock<T>(this: void, name: string, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  withLock<T>(this: void, name: string, options: LockOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /**
   * Who holds the lock and who waits, as of one revision.
   *
   * @throws {InvalidOptionsError} the name is not what it must be
   * @throws {LockerClosedError} the locker was closed
   * @throws {EtcdUnavailableError} no answer within `requestTimeoutMs`
   * @throws {EtcdAuthError} wrong credentials, or no right to read under the prefix
   * @example
   * const { held, holders } = await locker.inspect('master')
   * console.log(held ? `master is ${holders[0].value}` : 'no master')
   */
  inspect(this: void, name: string): Promise<LockDetails>;
  /**
   * The state as it is, then again at each change of the holders or their values; ends at `break`, abort or close.
   *
   * A slow reader gets the newest state only. Errors are those of `inspect`, and only before the first state.
   * @example
   * for await (const { holders } of locker.watch('master')) console.log(holders[0]?.value ?? 'none')
   */
  watch(this: void, name: string, options?: WatchOptions): AsyncIterableIterator<LockState>;
  /**
   * Releases what is held, rejects who waits, revokes the leases; resolves when etcd knows, at the latest after `requestTimeoutMs`.
   *
   * @example
   * await locker.close()
   */
  close(this: void): Promise<void>;
}

/**
 * A locker on an etcd cluster; it connects at the first use.
 *
 * @throws {InvalidOptionsError} an option is not what it must be; `issues` lists them all
 * @example
 * await using locker = createLocker({ hosts: ['10.0.0.1:2379', '10.0.0.2:2379', '10.0.0.3:2379'] })
 */
export function createLocker(options?: LockerOptions): Locker {
  return new EtcdLocker(resolveLockerOptions(options));
}

class EtcdLocker implements Locker {
  readonly #options: ResolvedOptions;
  readonly #shared: Shared;
  readonly #queues = new Map<string, NameQueue>();
  readonly #watches = new Set<StateWatch>();
  #closed: Promise<void> | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    const { prefix, requestTimeoutMs, logger, value } = options;
    const store = options.store ?? etcdStore(options);
    const context: Context = { store, clock: store.clock ?? systemClock, logger, prefix, requestTimeoutMs, value };
    const heartbeat = new Heartbeat(context);
    this.#shared = { ...context, heartbeat, sessions: new Sessions(context, heartbeat) };
  }

  readonly lock = async (name: string, options?: LockOptions): Promise<Lock> => {
    const asked = this.#check(name, options);
    const { timeoutMs } = asked;
    const onTimeout = async (): Promise<never> => {
      throw new LockTimeoutError(name, timeoutMs ?? 0, await this.#holderOf(name));
    };
    if (timeoutMs === 0) return (await this.#tryAtOnce(name, asked)) ?? onTimeout();
    return this.#join(name, new Caller<Lock>(this.#shared.clock, asked, onTimeout));
  };

  readonly tryLock = async (name: string, options?: LockOptions): Promise<Lock | null> => {
    const asked = this.#check(name, options);
    if (asked.timeoutMs === undefined || asked.timeoutMs === 0) return this.#tryAtOnce(name, asked);
    return this.#join(name, new Caller<Lock | null>(this.#shared.clock, asked, () => null));
  };

  readonly withLock = async <T>(
    name: string,
    ...rest: [fn: (lock: Lock) => T | Promise<T>] | [options: LockOptions, fn: (lock: Lock) => T | Promise<T>]
  ): Promise<T> => {
    const [options, fn] = rest.length === 1 ? [undefined, rest[0]] : rest;
    const lock = await this.lock(name, options);
    let result: T;
    try {
      result = await fn(lock);
    } catch (error) {
      await lock.release().catch((cause: unknown) => {
        this.#options.logger.warn(`etcd-locker: ${String(cause)}`);
      });
      throw error;
    }
    await lock.release();
    return result;
  };

  readonly inspect = async (name: string): Promise<LockDetails> => {
    checkName(name);
    this.#throwIfClosed();
    const letGo = this.#shared.clock.hold();
    try {
      return await inspectName(this.#shared, name);
    } finally {
      letGo();
    }
  };

  readonly watch = (name: string, options?: WatchOptions): AsyncIterableIterator<LockState> => {
    checkName(name);
    const { signal } = resolveWatchOptions(options);
    this.#throwIfClosed();
    const watch = new StateWatch(this.#shared, name, signal);
    this.#watches.add(watch);
    watch.onEnd(() => this.#watches.delete(watch));
    return watch;
  };

  readonly close = (): Promise<void> => (this.#closed ??= this.#close());

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #check(name: string, options: LockOptions | undefined): ResolvedLockOptions {
    checkName(name);
    const asked = resolveLockOptions(options, this.#options);
    this.#throwIfClosed();
    asked.signal?.throwIfAborted();
    return asked;
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw new LockerClosedError();
  }

  #queueOf(name: string): NameQueue {
    const found = this.#queues.get(name);
    if (found !== undefined) return found;
    const queue = new NameQueue(this.#shared, name, () => {
      if (this.#queues.get(name) === queue) this.#queues.delete(name);
    });
    this.#queues.set(name, queue);
    return queue;
  }

  #join<T>(name: string, caller: Caller<T | Lock>): Promise<T | Lock> {
    this.#queueOf(name).join(caller);
    return caller.promise;
  }

  async #tryAtOnce(name: string, asked: ResolvedLockOptions): Promise<Lock | null> {
    if (this.#queues.get(name)?.isTaken === true) return null;
    const caller = new Caller<Lock | null>(this.#shared.clock, { ...asked, timeoutMs: undefined }, () => null);
    void this.#serveTry(name, caller);
    return caller.promise;
  }

  async #serveTry(name: string, caller: Caller<Lock | null>): Promise<void> {
    const abortOnClose = (): void => {
      caller.reject(new LockerClosedError());
    };
    this.#tries.add(abortOnClose);
    try {
      const isWon = await tryAcquire(this.#shared, queueRange(this.#shared.prefix, name), caller, (entry) => {
        caller.resolve(this.#queueOf(name).hold(entry));
      });
      if (!isWon) caller.resolve(null);
    } catch (error) {
      caller.reject(error);
    } finally {
      this.#tries.delete(abortOnClose);
    }
  }

  readonly #tries = new Set<() => void>();

  // For a message only, so it must not make the caller wait for long, nor fail.
  async #holderOf(name: string): Promise<string | undefined> {
    const { clock } = this.#shared;
    const letGo = clock.hold();
    const { promise, resolve } = deferred<string | undefined>();
    const cancel = clock.setTimer(Math.min(500, this.#options.requestTimeoutMs), () => {
      resolve(undefined);
    });
    readHolder(this.#shared, name).then(resolve, () => {
      resolve(undefined);
    });
    return promise.finally(() => {
      cancel();
      letGo();
    });
  }

  async #close(): Promise<void> {
    const { clock, sessions, store } = this.#shared;
    const reason = new LockerClosedError();
    for (const queue of [...this.#queues.values()]) queue.close(reason);
    for (const abort of [...this.#tries]) abort();
    for (const watch of [...this.#watches]) watch.end();
    const letGo = clock.hold();
    await new Promise<void>((resolve) => {
      const cancel = clock.setTimer(this.#options.requestTimeoutMs, resolve);
      void sessions.close().finally(() => {
        cancel();
        resolve();
      });
    });
    letGo();
    if (store !== this.#options.store) await store.close();
  }
}
