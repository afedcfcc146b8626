/** Several locks that are held together. */
import type { LockLostError } from '../errors.ts';
import { type Inspect, inspectMethod, toJsonMembers } from '../json.ts';
import type { Hold } from './hold.ts';
import { hasListeners, LockHandle } from './lock-handle.ts';
import type { Lock } from './lock.ts';
import { handlesOfSignals } from './unreachable.ts';

/** Locks on several names. As soon as one of them is lost, the others are released and count as lost too. */
export interface MultiLock extends AsyncDisposable {
  /** The locks, one for each distinct name, in the order of the first mention of each name. */
  readonly locks: readonly Lock[];
  /** Aborts with a LockLostError as soon as one of the locks may be lost. Never aborts because of a release. */
  readonly signal: AbortSignal;
  /** True while all locks are certainly held. Reads the clocks at each access. */
  readonly held: boolean;
  /** The milliseconds until the first of the local deadlines, 0 when one lock is lost or all are released. */
  readonly remainingMs: number;
  /**
   * Throws if one of the locks is no longer certainly held. Reads the clocks.
   *
   * @throws {LockLostError} another process may hold one of the locks
   * @throws {LockReleasedError} the locks were released
   * @example
   * locks.throwIfLost()
   */
  throwIfLost(): void;
  /**
   * Releases all locks in the same tick. Resolves when etcd has confirmed it or the leases have expired.
   *
   * @throws {EtcdAuthError} the role may not delete a key; that lock ends with its lease
   * @throws {EtcdRefusedError} etcd refused the request; that lock ends with its lease
   * @example
   * await locks.release()
   */
  release(): Promise<void>;
}

/** The holds of several locks, which are lost together. */
class HoldGroup {
  readonly #locks: readonly Hold[];
  #lost: LockLostError | undefined;

  constructor(locks: readonly Hold[]) {
    this.#locks = locks;
    for (const lock of locks) {
      lock.onLost((error) => {
        this.#lose(error);
      });
    }
  }

  get lost(): LockLostError | undefined {
    return this.#lost;
  }

  #lose(error: LockLostError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    for (const lock of this.#locks) lock.lose(error.reason, error.cause as Error | undefined);
  }
}

export class MultiLockHandle implements MultiLock {
  readonly locks: readonly Lock[];
  readonly #locks: readonly LockHandle[];
  readonly #holds: HoldGroup;
  #controller: AbortController | undefined;
  #released: Promise<void> | undefined;

  constructor(locks: readonly LockHandle[]) {
    this.#locks = [...locks];
    this.locks = Object.freeze([...locks]);
    this.#holds = new HoldGroup(locks.map((lock) => LockHandle.holdOf(lock)));
    for (const lock of locks) lock.joinGroup(this);
    Object.freeze(this);
  }

  isListenedTo(): boolean {
    return hasListeners(this.#controller);
  }

  /** Aborts the signal if one of the locks is lost. */
  notify(): void {
    if (this.#holds.lost !== undefined) this.#controller?.abort(this.#holds.lost);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      handlesOfSignals.set(this.#controller.signal, this);
    }
    // The user may add a listener now and drop the signal.
    if (this.#checkHeld()) for (const lock of this.#locks) LockHandle.holdOf(lock).keep(lock);
    return this.#controller.signal;
  }

  get held(): boolean {
    return this.#checkHeld();
  }

  #checkHeld(): boolean {
    const isHeld = this.#locks.every((lock) => lock.checkHeld());
    // One lost means all lost. This reads the others again, so that their signals abort now, too.
    if (!isHeld) for (const lock of this.#locks) lock.checkHeld();
    this.notify();
    return isHeld;
  }

  get remainingMs(): number {
    return this.#checkHeld() ? Math.min(...this.#locks.map(({ remainingMs }) => remainingMs)) : 0;
  }

  throwIfLost(): void {
    if (this.#checkHeld()) return;
    if (this.#holds.lost !== undefined) throw this.#holds.lost;
    for (const lock of this.#locks) lock.throwIfLost();
  }

  release(): Promise<void> {
    return (this.#released ??= releaseAll(this.#locks));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  toJSON(): Record<string, unknown> {
    // First of all, because it fails for any other object.
    const held = this.#checkHeld();
    const { locks, remainingMs } = this;
    return toJsonMembers({ locks, held, remainingMs });
  }

  [inspectMethod](_depth: number, options: unknown, inspect: Inspect): string {
    const held = this.#checkHeld();
    const { locks } = this;
    return `MultiLock ${inspect({ locks, held }, options)}`;
  }
}

/** Releases all. Rejects with the first refusal, once etcd has responded to all. */
export async function releaseAll(locks: readonly Lock[]): Promise<void> {
  const outcomes = await Promise.allSettled(locks.map((lock) => lock.release()));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
