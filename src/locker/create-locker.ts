/** Creates lockers: the entry point of the package. */
import { type LockerOptions, resolveLockerOptions } from '../options/options.ts';
import type { Locker } from './locker.ts';
import { LockService } from './lock-service.ts';

/**
 * Creates a locker on an etcd cluster. It connects at the first use.
 *
 * @throws {InvalidOptionsError} an option is invalid; `issues` lists all of them
 * @example
 * await using locker = createLocker({ hosts: ['10.0.0.1:2379', '10.0.0.2:2379', '10.0.0.3:2379'] })
 */
export function createLocker(options?: LockerOptions): Locker {
  return new LockService(resolveLockerOptions(options));
}
