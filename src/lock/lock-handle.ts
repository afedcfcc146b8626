/**
 * The handle of a held lock.
 *
 * A loss has two phases. First the lock counts as lost, without a call of user code. Then its signal aborts: in a microtask, or at once
 * when the user reads the handle. So no listener runs in the middle of a step of the library.
 */
import { addMs, type Clock, type Instant, keepAlive, msUntil } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { MinimumHold } from '../entry/minimum-hold.ts';
import { EntryGoneError } from '../entry/value-writer.ts';
import { LockLostError, LockReleasedError, type LossReason } from '../errors.ts';
import { type Inspect, inspectMethod, toJsonMembers } from '../json.ts';
import { type Mode, modeOf } from '../kind.ts';
import { runInMicrotask } from '../microtask.ts';
import { checkValue } from '../options/options.ts';
import type { Store } from '../store/store.ts';
import type { Lock } from './lock.ts';

export class LockHandle implements Lock {
  readonly name: string;
  readonly #clock: Clock;
  readonly #entry: Entry;
  readonly #releaseEntry: () => Promise<void>;
  #controller: AbortController | undefined;
  #lost: LockLostError | undefined;
  #released: Promise<void> | undefined;
  #maxHold: { readonly until: Instant; readonly cancel: () => void } | undefined;
  #onLost: (error: LockLostError) => void = () => undefined;

  /** Holds an admitted entry. `releaseEntry` is called at most once, and never after a loss of the entry, which calls `onEntryLost`. */
  constructor(clock: Clock, name: string, entry: Entry, releaseEntry: () => Promise<void>, onEntryLost: () => void) {
    this.name = name;
    this.#clock = clock;
    this.#entry = entry;
    this.#releaseEntry = releaseEntry;
    entry.hold((reason, cause) => {
      onEntryLost();
      this.#markLost(reason, cause);
      this.#notify();
    });
    entry.session.occupy();
    // All members read the entry and the clocks. No user can replace them.
    Object.freeze(this);
  }

  get mode(): Mode {
    return modeOf(this.#entry.slots);
  }

  get slots(): number {
    return this.#entry.slots;
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

  get guard(): [key: string, target: 'Create', op: '==', revision: string] {
    return [this.#entry.key, 'Create', '==', String(this.#entry.token)];
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    this.checkHeld();
    return this.#controller.signal;
  }

  get held(): boolean {
    return this.checkHeld();
  }

  get remainingMs(): number {
    if (!this.checkHeld()) return 0;
    const { remainingMs } = this.#entry.session;
    return this.#maxHold === undefined ? remainingMs : Math.min(remainingMs, msUntil(this.#maxHold.until, this.#clock.now()));
  }

  throwIfLost(): void {
    if (this.checkHeld()) return;
    throw this.#lost ?? new LockReleasedError(this.name);
  }

  /** Reads the clocks for a reader of the handle. A lock whose time is up is lost now, and its signal aborts now. */
  checkHeld(): boolean {
    this.#entry.session.checkOpen();
    this.#entry.notifyLoss();
    // A timer is late after the process was stopped, and stands still while the machine sleeps.
    if (this.#maxHold !== undefined && msUntil(this.#maxHold.until, this.#clock.now()) <= 0) this.lose('max-hold');
    this.#notify();
    return this.#entry.isHeld;
  }

  async setValue(value: string): Promise<void> {
    checkValue(value);
    this.throwIfLost();
    try {
      await keepAlive(this.#clock, () => this.#entry.setValue(value));
    } catch (error) {
      if (error instanceof EntryGoneError) this.throwIfLost();
      throw error;
    }
  }

  release(): Promise<void> {
    return (this.#released ??= this.#release());
  }

  async #release(): Promise<void> {
    if (!this.checkHeld()) return;
    this.#maxHold?.cancel();
    await keepAlive(this.#clock, this.#releaseEntry);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  toJSON(): Record<string, unknown> {
    // First of all, because it fails for any other object.
    const held = this.checkHeld();
    const { name, mode, slots, key, value, fencingToken, leaseId, remainingMs } = this;
    return toJsonMembers({ name, mode, slots, key, value, fencingToken, leaseId, held, remainingMs });
  }

  [inspectMethod](_depth: number, options: unknown, inspect: Inspect): string {
    const held = this.checkHeld();
    const { name, key, fencingToken } = this;
    return `Lock ${inspect({ name, key, fencingToken, held }, options)}`;
  }

  /** Loses the lock after `maxHoldMs` from now. */
  limitHold(maxHoldMs: number): void {
    if (!this.#entry.isHeld) return;
    const cancel = this.#clock.setTimer(maxHoldMs, () => {
      this.lose('max-hold');
    });
    this.#maxHold = { until: addMs(this.#clock.now(), maxHoldMs), cancel };
  }

  /** From now on, a release within `minHoldMs` leaves the name taken until then. */
  requireHold(minHoldMs: number): void {
    this.#entry.minimumHold = new MinimumHold(this.#clock, minHoldMs);
  }

  /** Notices a deletion by others as it happens, not with the next beat. Returns the function that ends the watch. */
  watchDeletion(store: Store): () => void {
    const verify = (): void => {
      // The beat finds out what a failed read does not.
      this.#entry.verify().catch(() => undefined);
    };
    const created = (revision: bigint): void => {
      if (revision > this.fencingToken) verify();
    };
    return store.watch({ key: this.key, deletesOnly: true }, { created, events: verify });
  }

  /** Releases the lock, and counts it as lost. */
  lose(reason: LossReason, cause?: Error): void {
    if (!this.#entry.isHeld) return;
    // If etcd refuses the delete, the entry ends with its lease.
    keepAlive(this.#clock, this.#releaseEntry).catch(() => undefined);
    this.#markLost(reason, cause);
  }

  /** Calls `callback` when the lock is lost, or at once if it was. The callback must not call user code. */
  onLost(callback: (error: LockLostError) => void): void {
    if (this.#lost === undefined) this.#onLost = callback;
    else callback(this.#lost);
  }

  #markLost(reason: LossReason, cause?: Error): void {
    this.#maxHold?.cancel();
    this.#lost = new LockLostError(this.name, this.fencingToken, reason, cause === undefined ? undefined : { cause });
    this.#onLost(this.#lost);
    runInMicrotask(() => {
      this.#notify();
    });
  }

  #notify(): void {
    if (this.#lost !== undefined) this.#controller?.abort(this.#lost);
  }
}
