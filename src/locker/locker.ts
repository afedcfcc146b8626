/** The public interface of a locker. */
import type { Lock } from '../lock/lock.ts';
import type { MultiLock } from '../lock/multi-lock.ts';
import type {
  BreakOptions,
  CloseOptions,
  LeadOptions,
  ListOptions,
  LockOptions,
  WatchAllOptions,
  WatchOptions,
} from '../options/options.ts';
import type { Contender, LockDetails, LockStateIterator } from '../states/state.ts';

/** Acquires locks on names, and reports who holds them. Its methods also work detached, as in `const { lock } = locker`. */
export interface Locker extends AsyncDisposable {
  /**
   * Waits until the lock is free and resolves with it. Entries are served in the order in which etcd created them. Exclusive callers of one
   * process have one entry at a time, so processes alternate.
   *
   * Keep the handle for as long as the lock is needed. If the program drops it, the garbage collector finds it some time later. Then the
   * lock is released, and a warning is logged.
   *
   * @throws {InvalidOptionsError} the name or an option is invalid
   * @throws {LockTimeoutError} the call still waits after `timeoutMs`, and the lock is known to be busy
   * @throws {LockerClosedError} the locker is closed, or closes while the call waits
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs` or `timeoutMs` before the call had an entry in the queue
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts while the call waits
   * @example
   * await using lock = await locker.lock('orders/42', { timeoutMs: 10_000 })
   */
  lock(this: void, name: string, options?: LockOptions): Promise<Lock>;
  /**
   * Resolves with the lock if it is free, and with null at once if it is held or if others wait for it. Null means that etcd said so.
   *
   * With `timeoutMs` it waits for up to that many milliseconds before it resolves with null.
   *
   * @throws {InvalidOptionsError} the name or an option is invalid
   * @throws {LockerClosedError} the locker is closed, or closes during the call
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts during the call
   * @example
   * await using lock = await locker.tryLock('reports/daily')
   * if (lock === null) return 'the report is in progress elsewhere'
   */
  tryLock(this: void, name: string, options?: LockOptions): Promise<Lock | null>;
  /**
   * Acquires the locks on all names, or none of them.
   *
   * All calls acquire their names one after another in the same order, so no two calls block each other. `timeoutMs` and `signal`
   * apply to the call as a whole. `maxHoldMs` and `minHoldMs` start when all locks are held.
   *
   * @throws {InvalidOptionsError} a name or an option is invalid
   * @throws {LockTimeoutError} the call still waits after `timeoutMs`, and the lock is known to be busy
   * @throws {LockLostError} one lock was lost while the call waited for another one; all locks are released
   * @throws {LockerClosedError} the locker is closed, or closes while the call waits
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs` or `timeoutMs` before the call had an entry in a queue
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts while the call waits
   * @example
   * await using locks = await locker.lockAll(['account/7', 'account/9'])
   * await transfer({ signal: locks.signal })
   */
  lockAll(this: void, names: Iterable<string>, options?: LockOptions): Promise<MultiLock>;
  /**
   * Acquires the locks on up to 100 names in one step, or resolves with null at once if one of them is not free.
   *
   * With `timeoutMs` it waits for up to that many milliseconds, and acquires the locks as `lockAll` does.
   *
   * @throws {InvalidOptionsError} a name or an option is invalid, there are more than 100 distinct names, or names and values together
   * are larger than 1.5 MiB
   * @throws {LockLostError} with `timeoutMs`: one lock was lost while the call waited for another one
   * @throws {LockerClosedError} the locker is closed, or closes during the call
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts during the call
   * @example
   * await using locks = await locker.tryLockAll(['account/7', 'account/9'])
   * if (locks === null) return 'busy'
   */
  tryLockAll(this: void, names: Iterable<string>, options?: LockOptions): Promise<MultiLock | null>;
  /**
   * Waits for the lock, runs `fn` with it, releases it, and resolves with the result of `fn`.
   *
   * If both `fn` and the release fail, it rejects with the error of `fn` and logs that of the release. If the lock was lost while `fn`
   * ran, it rejects with the loss, also if `fn` resolved or was aborted by `lock.signal`. The process stays alive while `fn` runs.
   *
   * @throws {InvalidOptionsError} the name or an option is invalid
   * @throws {LockTimeoutError} the call still waits after `timeoutMs`, and the lock is known to be busy
   * @throws {LockerClosedError} the locker is closed, or closes while the call waits
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs` or `timeoutMs` before the call had an entry in the queue
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts while the call waits
   * @throws {LockLostError} the lock was lost while `fn` ran; the `cause` is the AbortError of `fn`, if there is one
   * @throws the error of `fn`
   * @example
   * const total = await locker.withLock('orders/42', async (lock) => charge(lock.signal))
   */
  withLock<T>(this: void, name: string, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /** Does the same with options. */
  withLock<T>(this: void, name: string, options: LockOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /**
   * Campaigns for the lock, and runs `fn` while it is held: leader election. `lock.fencingToken` is the number of the term.
   *
   * If the lock is lost, `lock.signal` aborts. Once `fn` has settled, the next campaign begins. So `fn` must end when `lock.signal` aborts.
   * If `fn` settles while the lock is held, the lock is released, and `lead` settles as `fn` did. Campaigns have no time limit and survive
   * any outage of etcd. `signal` ends the campaigns, and has no effect on an `fn` that runs. The process stays alive all the time.
   *
   * @throws {InvalidOptionsError} the name or an option is invalid
   * @throws {LockerClosedError} the locker is closed, or closes while the call campaigns
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, and no retry can help
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @throws the reason of `signal`, if it aborts while the call campaigns
   * @throws the error of `fn`, unless `fn` failed because the lock was lost
   * @example
   * await locker.lead('scheduler', { signal }, async (lock) => runScheduler({ term: lock.fencingToken, signal: lock.signal }))
   */
  lead<T>(this: void, name: string, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /** Does the same with options. */
  lead<T>(this: void, name: string, options: LeadOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /**
   * Reads the holders and waiters of one name. They are those of one revision of etcd.
   *
   * It sends one request for the queue, and one for each lease in it.
   *
   * @throws {InvalidOptionsError} the name is invalid
   * @throws {LockerClosedError} the locker is closed, or closes during the call
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not read under the prefix
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @example
   * const { held, holders } = await locker.inspect('master')
   * console.log(held ? `master is ${holders[0]?.value}` : 'no master')
   */
  inspect(this: void, name: string): Promise<LockDetails>;
  /**
   * Iterates over the states of all held names, in the order of their keys in etcd.
   *
   * It reads page by page. Each state is that of its own `revision`. A page takes one request, and one for each lease of a holder.
   *
   * @throws {InvalidOptionsError} at the call: an option is invalid
   * @throws {LockerClosedError} the locker is closed, or closes during the call
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not read under the prefix
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @example
   * for await (const { name, holders } of locker.list({ startsWith: 'orders/' })) console.log(name, holders[0]?.value)
   */
  list(this: void, options?: ListOptions): LockStateIterator;
  /**
   * Iterates over the states of one name: the current one first, then one for each change of the holders or their values.
   *
   * A slow reader gets the newest state only. The iteration ends without an error at `break`, when `signal` aborts, and when the locker
   * closes. It survives any outage of etcd, also before the first state unless `failFast` is set. After `requestTimeoutMs` without a
   * response it yields the state again with `current: false`, and with `current: true` once etcd has responded.
   *
   * @throws {InvalidOptionsError} at the call: the name or an option is invalid
   * @throws {LockerClosedError} at the call: the locker is closed
   * @throws {EtcdUnavailableError} with `failFast`, before the first state: etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} before the first state: the credentials are wrong, or the role may not read under the prefix
   * @throws {EtcdRefusedError} before the first state: etcd refused the read, and no retry can help
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @example
   * for await (const { holders, current } of locker.watch('master')) console.log(current ? (holders[0]?.value ?? 'none') : 'unknown')
   */
  watch(this: void, name: string, options?: WatchOptions): LockStateIterator;
  /**
   * Iterates over the states of all names: first the held ones, then the state of each name whose holders or values change.
   *
   * The state of a name that becomes free has `held: false`. A slow reader gets the newest state of each name that changed. The locker
   * keeps a copy of all entries under the prefix. Apart from that, it behaves as `watch` with a name.
   *
   * @throws {InvalidOptionsError} at the call: an option is invalid, or the argument is undefined, which may be meant as a name
   * @throws {LockerClosedError} at the call: the locker is closed
   * @throws {EtcdUnavailableError} with `failFast`, before the first state: etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} before the first state: the credentials are wrong, or the role may not read under the prefix
   * @throws {EtcdRefusedError} before the first state: etcd refused the read, and no retry can help
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @example
   * for await (const { name, held } of locker.watch({ startsWith: 'orders/' })) console.log(name, held ? 'held' : 'free')
   */
  watch(this: void, options?: WatchAllOptions): LockStateIterator;
  /**
   * Removes the holders of a name from the queue, and resolves with the removed ones. For operators: use it if a holder hangs.
   *
   * A holder of this library loses its lock with the reason 'deleted', within milliseconds: its signal aborts. It may lose it a moment after
   * the next holder has got the lock, and a process that hangs does not hear of it at all. So only the fencing token and the guard keep
   * it from writing. A holder of another program, or with `renew: false`, gets no notice. The waiters stay in the queue.
   *
   * It removes only the holders that it finds at its start, and no later one. A holder that has left by itself is not in the result,
   * unless a response of etcd was lost. After an error some holders may have been removed; it is safe to call it again.
   *
   * @throws {InvalidOptionsError} the name or an option is invalid
   * @throws {LockerClosedError} the locker is closed, or closes during the call
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request
   * @throws {ClientLoadError} the client of etcd cannot be loaded
   * @example
   * const { holders } = await locker.inspect('reports/daily')
   * if (holders[0]?.value === 'host-7:4711') await locker.breakLock('reports/daily', { fencingToken: holders[0].fencingToken })
   */
  breakLock(this: void, name: string, options?: BreakOptions): Promise<Contender[]>;
  /**
   * Releases all held locks, rejects all waiting calls, and revokes the leases.
   *
   * Resolves when etcd has confirmed it, or after `requestTimeoutMs`.
   *
   * With `drainMs`, waiting and new calls for locks reject at once, and holders have up to that many milliseconds to release their locks.
   * Locks are renewed, and reads and watches go on, until no lock is held or the time is over. A later call with a smaller `drainMs`
   * shortens that time. A later call without `drainMs`, and the end of an `await using` block, wait for it.
   *
   * @throws {InvalidOptionsError} an option is invalid; the locker stays open
   * @example
   * await locker.close({ drainMs: 10_000 })
   */
  close(this: void, options?: CloseOptions): Promise<void>;
}
