/**
 * The handle of a held lock: what the user gets.
 *
 * It is a thin shell over a `Hold`, which has all states. The library never keeps the handle, so that the garbage collector can tell that
 * the user dropped it (hold.ts).
 *
 * Read in this folder: lock.ts (the interface), lock-handle.ts, hold.ts, unreachable.ts (handles that were dropped), multi-lock.ts,
 * with-lock.ts, own-holds.ts (the locks that an async context holds).
 */
import { getEventListeners } from 'node:events';
import { keepAlive } from '../clock.ts';
import { EntryGoneError } from '../entry/value-writer.ts';
import { type LockLostError, LockReleasedError } from '../errors.ts';
import { type Inspect, inspectMethod, toJsonMembers } from '../json.ts';
import { type Mode, modeOf } from '../kind.ts';
import { checkValue } from '../options/options.ts';
import type { Store } from '../store/store.ts';
import { quote } from '../text.ts';
import type { Hold } from './hold.ts';
import type { Lock } from './lock.ts';
import { runHolding } from './own-holds.ts';
import { handlesOfSignals } from './unreachable.ts';

/** The handle of several locks. Each of them keeps it, so that all are in use as long as one is. */
interface Group {
  isListenedTo(): boolean;
  notify(): void;
}

export class LockHandle implements Lock {
  readonly name: string;
  readonly #hold: Hold;
  #controller: AbortController | undefined;
  #wanted: AbortController | undefined;
  #group: Group | undefined;

  constructor(hold: Hold) {
    this.name = hold.name;
    this.#hold = hold;
    hold.keep(this);
    // All members read the entry and the clocks. No user can replace them.
    Object.freeze(this);
  }

  static holdOf(lock: LockHandle): Hold {
    return lock.#hold;
  }

  get mode(): Mode {
    return modeOf(this.#hold.entry.slots);
  }

  get slots(): number {
    return this.#hold.entry.slots;
  }

  get key(): string {
    return this.#hold.entry.key;
  }

  get value(): string {
    return this.#hold.value;
  }

  get fencingToken(): bigint {
    return this.#hold.entry.token;
  }

  get leaseId(): string {
    return this.#hold.entry.session.leaseId;
  }

  get guard(): [key: string, target: 'Create', op: '==', revision: string] {
    const { key, token } = this.#hold.entry;
    return [key, 'Create', '==', String(token)];
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      handlesOfSignals.set(this.#controller.signal, this);
    }
    // The user may add a listener now and drop the signal.
    if (this.checkHeld()) this.#hold.keep(this);
    else this.#abort();
    return this.#controller.signal;
  }

  get wanted(): AbortSignal {
    if (this.#wanted === undefined) {
      this.#wanted = new AbortController();
      handlesOfSignals.set(this.#wanted.signal, this);
    }
    // A released or lost lock is never wanted: a signal that has not aborted by then stays as it is.
    if (this.checkHeld()) {
      this.#hold.keep(this);
      if (!this.#wanted.signal.aborted && this.#hold.checkWanted()) this.onWanted();
    }
    return this.#wanted.signal;
  }

  get held(): boolean {
    return this.checkHeld();
  }

  get remainingMs(): number {
    return this.checkHeld() ? this.#hold.remainingMs : 0;
  }

  throwIfLost(): void {
    if (this.checkHeld()) return;
    throw this.#hold.lost ?? new LockReleasedError(this.name);
  }

  /** Reads the clocks for a reader of the handle. A lock whose time is up is lost now, and its signal aborts now. */
  checkHeld(): boolean {
    const isHeld = this.#hold.checkHeld();
    if (!isHeld) this.#abort();
    return isHeld;
  }

  async setValue(value: string): Promise<void> {
    checkValue(value);
    this.throwIfLost();
    const { entry, context } = this.#hold;
    try {
      await keepAlive(context.clock, () => entry.setValue(value));
    } catch (error) {
      if (error instanceof EntryGoneError) this.throwIfLost();
      throw error;
    }
  }

  release(): Promise<void> {
    return this.#hold.release();
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

  /** Runs a function that uses the lock. Meanwhile the lock counts as in use, even if nothing refers to its handle. */
  runHolding<T>(fn: () => T): T {
    this.#hold.pin();
    return this.#hold.isLogging ? runHolding(this.#hold, fn) : fn();
  }

  limitHold(maxHoldMs: number): void {
    this.#hold.limit(maxHoldMs);
  }

  requireHold(minHoldMs: number): void {
    this.#hold.require(minHoldMs);
  }

  watchDeletion(store: Store): () => void {
    return this.#hold.watchDeletion(store);
  }

  onLost(callback: (error: LockLostError) => void): void {
    this.#hold.onLost(callback);
  }

  joinGroup(group: Group): void {
    this.#group = group;
  }

  isListenedTo(): boolean {
    return hasListeners(this.#controller) || hasListeners(this.#wanted) || this.#group?.isListenedTo() === true;
  }

  onLoss(): void {
    this.#abort();
    this.#group?.notify();
  }

  onWanted(): void {
    const message = `Another caller waits for lock ${quote(this.name)}; release it when the work allows`;
    this.#wanted?.abort(new DOMException(message, 'AbortError'));
  }

  #abort(): void {
    if (this.#hold.lost !== undefined) this.#controller?.abort(this.#hold.lost);
  }
}

/** Runs a function with its lock. The functions of `withLock()` and `lead()` run by this. */
export const runWith = <T>(lock: Lock, fn: (lock: Lock) => T): T =>
  lock instanceof LockHandle ? lock.runHolding(() => fn(lock)) : fn(lock);

/** Whether somebody listens to a signal that may still abort. */
export const hasListeners = (controller: AbortController | undefined): boolean =>
  controller?.signal.aborted === false && getEventListeners(controller.signal, 'abort').length > 0;
