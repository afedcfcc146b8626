/**
 * The parts of a locker that other entry points of this package use beyond its public interface.
 *
 * `etcd-locker/web-locks` needs names of any form, stealing, and the local callers.
 */
import type { LocalQueues } from '../queue/local-queues.ts';
import type { Locker } from './locker.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';

export interface Internals {
  /** The UUID of this locker. The values of its sessions' gates begin with it. */
  readonly clientId: string;
  readonly context: LockerContext;
  readonly queues: LocalQueues;
  /**
   * Runs a read, and keeps the process alive meanwhile.
   *
   * @throws {LockerClosedError} the locker is closed, or closes during the read
   */
  untilClosed<T>(read: () => Promise<T>): Promise<T>;
  /**
   * Fills `options` with the defaults of the locker.
   *
   * @throws {LockerClosedError} the locker is closed
   */
  resolve(options?: Pick<ResolvedLockOptions, 'slots' | 'signal'>): ResolvedLockOptions;
}

// A registered symbol, because the locker and the importing entry point may come from two copies of this package.
export const internals = Symbol.for('etcd-locker.internals');

/** Returns the internals of `locker`. Undefined if this package did not make it. */
export const internalsOf = (locker: Locker): Internals | undefined => (locker as Partial<{ readonly [internals]: Internals }>)[internals];
