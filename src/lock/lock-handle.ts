/** The handle: what a holder sees of its lock. */
import { addMs, type Clock, type Instant, msUntil } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { LockLostError, LockReleasedError, type LossReason } from '../errors.ts';
import { type Mode, modeOf } from '../kind.ts';
import type { Lock } from './lock.ts';
import { checkValue } from '../options/options.ts';
import type { Store } from '../store/store.ts';
import { EntryGoneError } from '../entry/value-writer.ts';

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

  /** Takes the entry into its hold; `giveBack` is called at most once, and never after a loss. */
  constructor(clock: Clock, name: string, entry: Entry, giveBack: () => Promise<void>, onLost: () => void) {
    this.name = name;
    this.#clock = clock;
    this.#entry = entry;
    this.#releaseEntry = giveBack;
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
      this.giveUpAs('max-hold');
    };
    if (this.#isHeld()) this.#maxHold = { until: addMs(this.#clock.now(), maxHoldMs), cancel: this.#clock.setTimer(maxHoldMs, giveUp) };
  }

  /** Gives the lock back as a release does, but counts it as lost. */
  giveUpAs(reason: LossReason): void {
    if (!this.#entry.isHeld) return;
    const letGo = this.#clock.hold();
    // Where etcd refuses, the lease frees it.
    void this.#releaseEntry().then(letGo, letGo);
    this.#lose(reason);
  }

  /** Calls `callback` when it is lost, or at once where it was. */
  onLost(callback: (error: LockLostError) => void): void {
    if (this.#lost === undefined) this.#onLost = callback;
    else callback(this.#lost);
  }

  #checkMaxHold(): void {
    // A timer is late where the process was stopped, and stands still where the machine sleeps.
    if (this.#maxHold !== undefined && msUntil(this.#maxHold.until, this.#clock.now()) <= 0) this.giveUpAs('max-hold');
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
      await this.#releaseEntry();
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
