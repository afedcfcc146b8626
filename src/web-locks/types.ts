/** The types of the Web Locks specification. They have the structure of the DOM library's types, and do not need that library. */

export type LockMode = 'exclusive' | 'shared';

/** The options of `request`, with the names and defaults of the specification. */
export interface LockOptions {
  /**
   * With 'shared', any number of shared locks are held together. An exclusive lock is held alone.
   * @default 'exclusive'
   */
  mode?: LockMode;
  /**
   * With true, the request does not wait: the callback gets null if the lock is not free. Not beside `signal` or `steal`.
   * @default false
   */
  ifAvailable?: boolean;
  /**
   * With true, the request takes the lock from its holders, before all waiters. Not beside `signal` or `ifAvailable`, and not shared.
   * @default false
   */
  steal?: boolean;
  /** Cancels the request while it waits. It has no effect on a held lock. */
  signal?: AbortSignal;
}

/** The lock of the specification. */
export interface Lock {
  readonly mode: LockMode;
  readonly name: string;
}

/** Runs under the lock. Gets null if `ifAvailable` is set and the lock is not free. */
export type LockGrantedCallback<T, L extends Lock = Lock> = (lock: L | null) => T;

/** One held or requested lock of a snapshot. */
export interface LockInfo {
  clientId?: string;
  mode?: LockMode;
  name?: string;
}

/** The held and the requested locks, as `query` of the specification returns them. */
export interface LockManagerSnapshot {
  held?: LockInfo[];
  pending?: LockInfo[];
}

/** The interface of `navigator.locks` and of {@link WebLockManager}, for code that runs on either. */
export interface LockManager {
  /** Waits for the lock, calls `callback` with it, and resolves with the result of `callback`. */
  request<T>(name: string, callback: LockGrantedCallback<T>): Promise<Awaited<T>>;
  /** Does the same with options. */
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T>): Promise<Awaited<T>>;
  /** Reads which locks are held and which are requested. */
  query(): Promise<LockManagerSnapshot>;
}

/** The lock that a callback gets: the lock of the specification, with members that a lock across machines needs. */
export interface HeldLock extends Lock {
  /** Aborts with an AbortError as soon as the lock is stolen or may be lost. Never aborts because of the release. */
  readonly signal: AbortSignal;
  /** A number that rises from each holder of the name to the next, the same as in `Lock` of the locker. */
  readonly fencingToken: bigint;
  /** A comparison for a transaction of any etcd3 client, which writes only while this lock is held. The same as in `Lock` of the locker. */
  readonly guard: [key: string, target: 'Create', op: '==', revision: string];
}

/** The result of `query`. All members are present. */
export interface LockSnapshot {
  held: Required<LockInfo>[];
  pending: Required<LockInfo>[];
}

/** The result of `webLocks`. */
export interface WebLockManager extends LockManager {
  /**
   * Waits for the lock, calls `callback` with it, and releases it when the result of `callback` has settled.
   *
   * Resolves with the result of `callback`.
   *
   * @throws {TypeError} an argument is invalid
   * @throws {DOMException} NotSupportedError: the name begins with '-', or options exclude each other
   * @throws {DOMException} InvalidStateError: the locker is closed
   * @throws {DOMException} AbortError: the lock was stolen or lost, or the locker closed while the request waited
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not write under the prefix
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @throws the reason of `signal`, if it aborts while the request waits
   * @throws the error of `callback`
   * @example
   * await locks.request('orders/42', async ({ signal }) => save(order, { signal }))
   */
  request<T>(name: string, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  /** Does the same with options. */
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  /**
   * Reads the holders and waiters of all names and machines. They are those of one revision of etcd.
   *
   * @throws {DOMException} InvalidStateError: the locker is closed
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   * @throws {EtcdAuthError} the credentials are wrong, or the role may not read under the prefix
   * @example
   * const { held, pending } = await locks.query()
   */
  query(): Promise<LockSnapshot>;
}
