/** The handle: what a holder sees of its lock. */
import { addMs, type Clock, type Instant, msUntil } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { LockLostError, LockReleasedError, type LossReason } from '../errors.ts';
import { type Mode, modeOf } from '../keys.ts';
import { checkValue } from '../options/options.ts';
import type { Store } from '../store/store.ts';
import { EntryGoneError } from '../entry/value-writer.ts';

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

export class LockHandle implements Lock {
  readonly name: string;
  readonly #clock: Clock;
  readonly #entry: Entry;
  readonly #giveBack: () => Promise<void>;
  #controller: AbortController | undefined;
  #lost: LockLostError | undefined;
  #released: Promise<void> | undefined;
  #maxHold: { readonly until: Instant; readonly cancel: () => void } | undefined;
  #onLost: (error: LockLostError) => void = () => undefined;

  /** Takes the entry into its hold; `giveBack` is called at most once, and never after a loss. */
  constructor(clock: Clock, name: string, entry: Entry, giveBack: () => Promise<void>, onLost: () => void) {
    this.name = name;
    this.#clock = clock;
    this.#entry = entry;
    this.#giveBack = giveBack;
    entry.hold((reason) => {
      this.#lose(reason);
      onLost();
    });
    // What a handle says comes from its entry and its clocks alone: nobody puts another name or another `held` over it.
    Object.freeze(this);
  }

  get mode(): Mode {
    return modeOf(this.#entry.slots);
  }

  get slots(): number {
    return this.#entry.slots;
  }

  /** From now on a deletion by others is noticed as it happens, not with the next beat; the answer ends it. */
  watchDeletion(store: Store): () => void {
    const verify = (): void => {
      // Whatever fails here, the beat will notice.
      this.#entry.verify().catch(() => undefined);
    };
    const created = (revision: bigint): void => {
      if (revision > this.fencingToken) verify();
    };
    return store.watch({ key: this.key, deletesOnly: true }, { created, events: verify });
  }

  /** From now on it is held for so long at most. */
  limitHold(maxHoldMs: number): void {
    const giveUp = (): void => {
      this.forfeit('max-hold');
    };
    if (this.#isHeld()) this.#maxHold = { until: addMs(this.#clock.now(), maxHoldMs), cancel: this.#clock.setTimer(maxHoldMs, giveUp) };
  }

  /** Gives the lock back as a release does, but counts it as lost. */
  forfeit(reason: LossReason): void {
    if (!this.#entry.isHeld) return;
    const letGo = this.#clock.hold();
    // Where etcd refuses, the lease frees it.
    void this.#giveBack().then(letGo, letGo);
    this.#lose(reason);
  }

  /** Calls `callback` when it is lost, or at once where it was. */
  onLost(callback: (error: LockLostError) => void): void {
    if (this.#lost === undefined) this.#onLost = callback;
    else callback(this.#lost);
  }

  #checkMaxHold(): void {
    // A timer is late where the process was stopped, and stands still where the machine sleeps.
    if (this.#maxHold !== undefined && msUntil(this.#maxHold.until, this.#clock.now()) <= 0) this.forfeit('max-hold');
  }

  get key(): string {
    return this.#entry.key;
  }

  get value(): string {
    return this.#entry.value;
  }

  get fencingToken(): bigint {
    return this.#entry.token;
  }

  get leaseId(): string {
    return this.#entry.session.leaseId;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#readClocks();
      if (this.#lost !== undefined) this.#controller.abort(this.#lost);
    }
    return this.#controller.signal;
  }

  get held(): boolean {
    return this.#isHeld();
  }

  #isHeld(): boolean {
    this.#readClocks();
    return this.#entry.isHeld;
  }

  // Reading them past a deadline is what makes the lock lost.
  #readClocks(): void {
    this.#entry.checkDeadline();
    this.#checkMaxHold();
  }

  get remainingMs(): number {
    if (!this.#isHeld()) return 0;
    const { remainingMs } = this.#entry.session;
    return this.#maxHold === undefined ? remainingMs : Math.min(remainingMs, msUntil(this.#maxHold.until, this.#clock.now()));
  }

  get guard(): [key: string, target: 'Create', op: '==', revision: string] {
    return [this.#entry.key, 'Create', '==', String(this.#entry.token)];
  }

  throwIfLost(): void {
    if (this.#isHeld()) return;
    throw this.#lost ?? new LockReleasedError(this.name);
  }

  async setValue(value: string): Promise<void> {
    checkValue(value);
    this.throwIfLost();
    const letGo = this.#clock.hold();
    try {
      await this.#entry.setValue(value);
    } catch (error) {
      if (!(error instanceof EntryGoneError)) throw error;
      throw this.#lost ?? new LockReleasedError(this.name);
    } finally {
      letGo();
    }
  }

  release(): Promise<void> {
    return (this.#released ??= this.#release());
  }

  async #release(): Promise<void> {
    if (!this.#isHeld()) return;
    this.#maxHold?.cancel();
    const letGo = this.#clock.hold();
    try {
      await this.#giveBack();
    } finally {
      letGo();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  #lose(reason: LossReason): void {
    this.#maxHold?.cancel();
    this.#lost = new LockLostError(this.name, this.fencingToken, reason);
    this.#controller?.abort(this.#lost);
    this.#onLost(this.#lost);
  }
}
