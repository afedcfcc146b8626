/** What `createLocker` answers: puts the parts together, and sends each call to the one that serves it. */
import { randomUUID } from 'node:crypto';
import { systemClock } from '../clock.ts';
import { deferred } from '../deferred.ts';
import { EtcdRefusedError, LockerClosedError, LockTimeoutError } from '../errors.ts';
import { Heartbeat } from '../session/heartbeat.ts';
import { type Internals, internals } from './internals.ts';
import { gateValueOf } from '../keys.ts';
import { Lines } from '../queue/local-queues.ts';
import { listStates } from '../states/list.ts';
import { lockAll } from './lock-all.ts';
import type { Lock } from '../lock/lock-handle.ts';
import type { Locker } from './locker.ts';
import { type MultiLock, MultiLockHandle } from '../lock/multi-lock.ts';
import {
  checkName,
  checkNames,
  type ListOptions,
  type LockOptions,
  type ResolvedLockOptions,
  type ResolvedOptions,
  resolveListOptions,
  resolveLockOptions,
  resolveWatchOptions,
  type WatchOptions,
} from '../options/options.ts';
import type { Shared } from '../queue/acquisition.ts';
import type { Context } from '../session/session.ts';
import { Sessions } from '../session/session-pool.ts';
import { etcdStore } from '../store/etcd/etcd-store.ts';
import { inspectName, type LockDetails, type LockState, StateWatch } from '../states/state-watch.ts';

export class LockService implements Locker {
  readonly #options: ResolvedOptions;
  readonly #shared: Shared;
  readonly #lines: Lines;
  readonly #clientId = randomUUID();
  readonly #watches = new Set<StateWatch>();
  #closed: Promise<void> | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    const { prefix, requestTimeoutMs, logger, value } = options;
    const store = options.store ?? etcdStore(options);
    const clock = store.clock ?? systemClock;
    const context: Context = { store, clock, logger, prefix, requestTimeoutMs, value: gateValueOf(this.#clientId, value) };
    const heartbeat = new Heartbeat(context);
    this.#shared = { ...context, heartbeat, sessions: new Sessions(context, heartbeat) };
    this.#lines = new Lines(this.#shared);
  }

  readonly lock = async (name: string, options?: LockOptions): Promise<Lock> => {
    checkName(name);
    return this.#wait(name, this.#check(options));
  };

  readonly tryLock = async (name: string, options?: LockOptions): Promise<Lock | null> => {
    checkName(name);
    const asked = this.#check(options);
    if (asked.timeoutMs !== undefined && asked.timeoutMs > 0) return nullOnTimeout(this.#wait(name, asked));
    const locks = await this.#lines.tryLock([name], asked);
    return locks?.[0] ?? null;
  };

  readonly lockAll = async (names: Iterable<string>, options?: LockOptions): Promise<MultiLock> => {
    const distinct = checkNames(names, 'lock all');
    return lockAll(this.#shared, this.#lines, distinct, this.#check(options));
  };

  readonly tryLockAll = async (names: Iterable<string>, options?: LockOptions): Promise<MultiLock | null> => {
    const distinct = checkNames(names, 'try to lock all', maxNamesAtOnce);
    const asked = this.#check(options);
    if (asked.timeoutMs !== undefined && asked.timeoutMs > 0) return nullOnTimeout(lockAll(this.#shared, this.#lines, distinct, asked));
    const locks = await this.#lines.tryLock(distinct, asked).catch((error: unknown) => {
      if (!isTooMany(error)) throw error;
      throw new EtcdRefusedError(
        `${String(distinct.length)} names at once are more than its --max-txn-ops allows; lockAll() takes any number`,
      );
    });
    return locks === null ? null : new MultiLockHandle(locks);
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

  readonly list = (options?: ListOptions): AsyncIterableIterator<LockState> => {
    const { startsWith } = resolveListOptions(options);
    this.#throwIfClosed();
    return listStates(this.#shared, startsWith, () => {
      this.#throwIfClosed();
    });
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

  readonly close = (): Promise<void> => {
    if (this.#closed === undefined) {
      const { promise, resolve } = deferred();
      // Before its first step: that step calls listeners, which must not ask for anything any more.
      this.#closed = promise;
      resolve(this.#close());
    }
    return this.#closed;
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get [internals](): Internals {
    return {
      clientId: this.#clientId,
      shared: this.#shared,
      lines: this.#lines,
      ask: (options) => ({ ...this.#check(undefined), ...options }),
    };
  }

  async #wait(name: string, asked: ResolvedLockOptions): Promise<Lock> {
    const locking = this.#lines.lock(name, asked);
    if (asked.lease === undefined) return locking;
    const lock = await locking;
    this.#shared.sessions.endRenewal(asked.lease);
    return lock;
  }

  #check(options: LockOptions | undefined): ResolvedLockOptions {
    const asked = resolveLockOptions(options, this.#options);
    this.#throwIfClosed();
    asked.signal?.throwIfAborted();
    return asked;
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw new LockerClosedError();
  }

  async #close(): Promise<void> {
    const { clock, sessions, store } = this.#shared;
    this.#lines.close(new LockerClosedError());
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

/** One transaction takes 128 operations, unless the server was told otherwise. */
const maxNamesAtOnce = 100;

const isTooMany = (error: unknown): boolean => error instanceof EtcdRefusedError && error.message.includes('too many operations');

async function nullOnTimeout<T>(locking: Promise<T>): Promise<T | null> {
  try {
    return await locking;
  } catch (error) {
    if (error instanceof LockTimeoutError) return null;
    throw error;
  }
}
