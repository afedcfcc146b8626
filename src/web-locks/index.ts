/** The public surface of `etcd-locker/web-locks`: the W3C Web Locks API on a locker, so that code for `navigator.locks` runs across machines. */
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

const managers = new WeakMap<Locker, WebLockManager>();

/**
 * The locks of a locker as `navigator.locks` has them; one LockManager for each locker.
 *
 * @throws {TypeError} `locker` was not made by `createLocker`
 * @example
 * const locks = webLocks(locker)
 * await locks.request('orders/42', async () => save(order))
 */
export function webLocks(locker: Locker): WebLockManager {
  const found = managers.get(locker);
  if (found !== undefined) return found;
  const internals = internalsOf(locker);
  if (internals === undefined) throw new TypeError('Cannot make web locks: expected a locker of createLocker');
  const manager = new Manager(internals);
  managers.set(locker, manager);
  return manager;
}
