/** The public interface of a locker. */
import type { Lock } from '../lock/lock.ts';
import type { MultiLock } from '../lock/multi-lock.ts';
import type { ListOptions, LockOptions, WatchOptions } from '../options/options.ts';
import type { LockDetails, LockState } from '../states/state.ts';

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
   * Takes the locks on all the names, or none: one after another in one order, so that no two calls can wait for each other.
   *
   * `timeoutMs` and `signal` are for all of them together; `maxHoldMs` counts from when all are held.
   *
   * @throws what `lock` throws
   * @throws {LockLostError} one was lost while it waited for the rest; all were released
   * @example
   * await using locks = await locker.lockAll(['account/7', 'account/9'])
   * await transfer({ signal: locks.signal })
   */
  lockAll(this: void, names: Iterable<string>, options?: LockOptions): Promise<MultiLock>;
  /**
   * Takes all the locks in one step or answers null at once; at most 100 names. With `timeoutMs` it waits that long, as `lockAll` does.
   *
   * @throws what `tryLock` throws
   * @example
   * await using locks = await locker.tryLockAll(['account/7', 'account/9'])
   * if (locks === null) return 'busy'
   */
  tryLockAll(this: void, names: Iterable<string>, options?: LockOptions): Promise<MultiLock | null>;
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
   * The state of every name that is held, in the order of the keys in etcd, read page by page: each state as of its own revision.
   *
   * @throws what `inspect` throws, as it goes on
   * @example
   * for await (const { name, holders } of locker.list({ startsWith: 'orders/' })) console.log(name, holders[0]?.value)
   */
  list(this: void, options?: ListOptions): AsyncIterableIterator<LockState>;
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
