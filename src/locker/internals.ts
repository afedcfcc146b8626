/** What other entries of this package may do with a locker beyond its public surface: names of any form, stealing, who waits here. */
import type { LocalQueues } from '../queue/local-queues.ts';
import type { Locker } from './locker.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';

export interface Internals {
  /** Who this locker is: what the gates of its sessions begin with. */
  readonly clientId: string;
  readonly context: LockerContext;
  readonly queues: LocalQueues;
  /**
   * What is asked for, on the locker's own terms.
   * @throws {LockerClosedError} the locker was closed
   */
  resolve(options?: Pick<ResolvedLockOptions, 'slots' | 'signal'>): ResolvedLockOptions;
}

// Registered, as the locker and who asks may come from two copies of this package.
export const internals = Symbol.for('etcd-locker.internals');

/** undefined where it is no locker of this package. */
export const internalsOf = (locker: Locker): Internals | undefined => (locker as Partial<{ readonly [internals]: Internals }>)[internals];
