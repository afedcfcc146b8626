/** The types of the Web Locks specification, by structure those of the DOM library, so that nobody needs that library. */

export type LockMode = 'exclusive' | 'shared';

/** What `request` takes; the specification's words for its members, and their defaults. */
export interface LockOptions {
  /**
   * Any number of shared locks may be held together; an exclusive one is held alone.
   * @default 'exclusive'
   */
  mode?: LockMode;
  /**
   * Never waits: where the lock is not to be had at once the callback gets null. Not beside `signal`.
   * @default false
   */
  ifAvailable?: boolean;
  /**
   * Takes the lock from whoever holds it, before all who wait. Not beside `signal`, nor shared.
   * @default false
   */
  steal?: boolean;
  /** Ends the waiting; once the lock is held it is ignored. */
  signal?: AbortSignal;
}

/** A lock as the specification has it. */
export interface Lock {
  readonly mode: LockMode;
  readonly name: string;
}

export type LockGrantedCallback<T, L extends Lock = Lock> = (lock: L | null) => T;

export interface LockInfo {
  clientId?: string;
  mode?: LockMode;
  name?: string;
}

export interface LockManagerSnapshot {
  held?: LockInfo[];
  pending?: LockInfo[];
}

/** What `navigator.locks` is, and {@link WebLockManager} too: code that is to run on either asks for this. */
export interface LockManager {
  request<T>(name: string, callback: LockGrantedCallback<T>): Promise<Awaited<T>>;
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T>): Promise<Awaited<T>>;
  query(): Promise<LockManagerSnapshot>;
}

/** The lock that a callback gets here: the specification's, and what a lock over machines needs besides. */
export interface HeldLock extends Lock {
  /** Aborts with an AbortError the moment the lock may be somebody else's: stolen, or its lease over. Never by the release. */
  readonly signal: AbortSignal;
  /** As that of the locker's lock: it rises from each holder of the name to the next. */
  readonly fencingToken: bigint;
  /** As that of the locker's lock: a compare for a transaction of any etcd3 client, whose writes are done only while it is held. */
  readonly guard: [key: string, target: 'Create', op: '==', revision: string];
}

/** `query` answers with all members there. */
export interface LockSnapshot {
  held: Required<LockInfo>[];
  pending: Required<LockInfo>[];
}

/** What `webLocks` answers. */
export interface WebLockManager extends LockManager {
  /**
   * Waits for the lock, calls `callback` with it, and releases it once what that returned has settled.
   *
   * @throws {TypeError} an argument is not what it must be
   * @throws {DOMException} NotSupportedError: the name begins with '-', or options exclude each other; InvalidStateError: the
   * locker is closed; AbortError: the lock was stolen or lost, or the locker closed while it waited
   * @throws the reason of `signal`, or what `callback` throws, or what `locker.lock` throws where etcd does not answer or refuses
   * @example
   * await locks.request('orders/42', async ({ signal }) => save(order, { signal }))
   */
  request<T>(name: string, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  /**
   * Who holds and who waits, over all names and machines, as of one revision of etcd.
   *
   * @throws {DOMException} InvalidStateError: the locker is closed
   * @throws what `locker.inspect` throws
   * @example
   * const { held, pending } = await locks.query()
   */
  query(): Promise<LockSnapshot>;
}
