/** The public interface of a held lock. */
import type { Mode } from '../kind.ts';

/** A lock that is held until it is released or lost. A lost lock never comes back. */
export interface Lock extends AsyncDisposable {
  readonly name: string;
  /** 'exclusive' if this lock is held alone, 'shared' if several may be held together. */
  readonly mode: Mode;
  /** The number of locks that may be held together: 1 if exclusive, Infinity if shared, n for a semaphore. */
  readonly slots: number;
  /** The key of its entry in etcd. */
  readonly key: string;
  /** The text that `inspect`, `list` and `watch` show for this holder. */
  readonly value: string;
  /**
   * A number that rises from each holder of the name to the next. It is the create revision of `key`. Locks held together may share it.
   * So do locks of one process in a row if the lock was kept in between (`keepMs`).
   */
  readonly fencingToken: bigint;
  /** The lease of its entry, as a decimal int64 as etcd3 writes it. */
  readonly leaseId: string;
  /** Aborts with a LockLostError as soon as the lock may be lost. Never aborts because of a release. */
  readonly signal: AbortSignal;
  /**
   * Aborts when another caller waits for this lock, in another process or in this one: a long holder can yield.
   *
   * The reason is an `AbortError` that names the lock. It aborts too if that caller already waits at the first read of the property. It
   * stays as it is once the lock is released or lost, and if the caller gives up. A reader does not want the lock of another reader,
   * and a semaphore is wanted once its slots are taken. `tryLock()` does not wait, so it does not count.
   *
   * The first read costs a watch and at most one request. A lock whose `wanted` is never read costs nothing.
   *
   * @example
   * for (const row of rows) {
   *   await ledger.append(row)
   *   if (lock.wanted.aborted) break
   * }
   */
  readonly wanted: AbortSignal;
  /** True while this lock is certainly held. Reads the clocks at each access. */
  readonly held: boolean;
  /** The milliseconds until the local deadline, 0 when lost or released. Each renewal extends it. */
  readonly remainingMs: number;
  /**
   * Throws if the lock is no longer certainly held. Reads the clocks.
   *
   * @throws {LockLostError} another process may hold the lock
   * @throws {LockReleasedError} the lock was released
   * @example
   * for (const row of rows) {
   *   lock.throwIfLost()
   *   await ledger.append(row, { fencingToken: lock.fencingToken })
   * }
   */
  throwIfLost(): void;
  /**
   * Changes the value that others read and watch. The newest of several calls wins.
   *
   * @throws {InvalidOptionsError} the value is not a well-formed string of at most 64 KiB
   * @throws {LockLostError} the lock was lost
   * @throws {LockReleasedError} the lock was released
   * @throws {EtcdUnavailableError} etcd did not respond in time; the value may or may not be written
   * @throws {EtcdAuthError} the role may not write the key
   * @throws {EtcdRefusedError} etcd refused the request, for example because its storage is full
   * @example
   * await lock.setValue('http://10.0.0.7:8080')
   */
  setValue(value: string): Promise<void>;
  /**
   * A comparison for a transaction of any etcd3 client. etcd applies the writes of that transaction only while this lock is held.
   *
   * It protects only transactions with at least one write.
   *
   * @example
   * await client.if(...lock.guard).then(client.put('total').value('7')).commit()
   */
  readonly guard: [key: string, target: 'Create', op: '==', revision: string];
  /**
   * Releases the lock. Resolves when etcd has confirmed it or the lease has expired. Does nothing if the lock was lost.
   *
   * With `keepMs`, this process may keep the lock. Then it resolves at once, and other processes see the lock as held.
   *
   * Before `minHoldMs` is over, the name stays taken until then, also if the process ends after this call has resolved.
   *
   * @throws {EtcdAuthError} the role may not delete the key; the lock ends with its lease
   * @throws {EtcdRefusedError} etcd refused the request; the lock ends with its lease
   * @example
   * await lock.release()
   */
  release(): Promise<void>;
}
