/**
 * The public names of `etcd-locker/web-locks`: the W3C Web Locks API on a locker, so that code for `navigator.locks` runs across machines.
 *
 * Read types.ts next (the interfaces), then manager.ts (the methods), arguments.ts (their checks), request.ts (one request from its call to
 * its result), client-order.ts (the order of a client's requests) and snapshot.ts (`query()`).
 *
 * @module etcd-locker/web-locks
 */
import { internalsOf } from '../locker/internals.ts';
import type { Locker } from '../locker/locker.ts';
import { Manager } from './manager.ts';
import type { WebLockManager } from './types.ts';

export type {
  HeldLock,
  Lock,
  LockGrantedCallback,
  LockInfo,
  LockManager,
  LockManagerSnapshot,
  LockMode,
  LockOptions,
  LockSnapshot,
  WebLockManager,
} from './types.ts';

// A registered symbol, because one process may load both the ESM and the CommonJS copy of this package. Two managers of one locker
// would know nothing of each other's requests.
const registry = Symbol.for('etcd-locker.web-locks');

/**
 * Returns the LockManager of a locker, always the same one. It has the interface of `navigator.locks`.
 *
 * @throws {TypeError} `createLocker` did not make `locker`
 * @example
 * const locks = webLocks(locker)
 * await locks.request('orders/42', async () => save(order))
 */
export function webLocks(locker: Locker): WebLockManager {
  const managers = findManagers();
  const known = managers.get(locker);
  if (known !== undefined) return known;
  const internals = internalsOf(locker);
  if (internals === undefined) throw new TypeError('Cannot make web locks: expected a locker made by createLocker');
  const manager = new Manager(internals);
  managers.set(locker, manager);
  return manager;
}

/** Returns the managers of all lockers in this process. */
function findManagers(): WeakMap<Locker, WebLockManager> {
  const scope = globalThis as Record<symbol, WeakMap<Locker, WebLockManager> | undefined>;
  return (scope[registry] ??= new WeakMap());
}
