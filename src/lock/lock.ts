/** The public interface of a lock that is held. */
import type { Mode } from '../kind.ts';

/** A lock that is held, until it is released or lost; a lost one never comes back. */
export interface Lock extends AsyncDisposable {
  readonly name: string;
  readonly mode: Mode;
  /** How many may hold it together: 1 where it is exclusive, Infinity where it is shared, n for a semaphore. */
  readonly slots: number;
  /** The key that stands for it in etcd. */
  readonly key: string;
  /** What others read of this holder. */
  readonly value: string;
  /** Strictly increasing in the order in which the name's holders had it; it is the create revision of `key`. */
  readonly fencingToken: bigint;
  /** Decimal int64, as etcd3 writes it. */
  readonly leaseId: string;
  /** Aborts with LockLostError the moment the lock may be gone; never on release. */
  readonly signal: AbortSignal;
  /** Reads the clocks: true while the lock is certainly ours. */
  readonly held: boolean;
  /** Milliseconds until the local deadline, 0 when lost or released; each renewal moves it. */
  readonly remainingMs: number;
  /**
   * Reads the clocks, and throws where the lock is not certainly ours any more.
   *
   * @throws {LockLostError} the lock may be somebody else's
   * @throws {LockReleasedError} it was released
   * @example
   * for (const row of rows) {
   *   lock.throwIfLost()
   *   await ledger.append(row, { fencingToken: lock.fencingToken })
   * }
   */
  throwIfLost(): void;
  /**
   * Changes the value that others read and watch; the newest call wins.
   *
   * @throws {InvalidOptionsError} no well-formed string of at most 64 KiB
   * @throws {LockLostError} the lock was lost
   * @throws {LockReleasedError} it was released
   * @throws {EtcdUnavailableError} no answer in time: others may see the value or not
   * @throws {EtcdAuthError} the role may not write it
   * @throws {EtcdRefusedError} etcd refused it, as for want of space
   * @example
   * await lock.setValue('http://10.0.0.7:8080')
   */
  setValue(value: string): Promise<void>;
  /**
   * A compare for a transaction of any etcd3 client: its writes are done only while this lock is held.
   *
   * It guards only together with at least one write.
   * @example
   * await client.if(...lock.guard).then(client.put('total').value('7')).commit()
   */
  readonly guard: [key: string, target: 'Create', op: '==', revision: string];
  /**
   * Gives the lock back: resolves when etcd has confirmed it or the lease is over; once lost it does nothing.
   *
   * @throws {EtcdAuthError} the role may not delete it: it ends with its lease
   * @throws {EtcdRefusedError} etcd refused it: it ends with its lease
   * @example
   * await lock.release()
   */
  release(): Promise<void>;
}
