/**
 * The local queue of one name: its callers, acquisitions and held locks in this process.
 *
 * First come, first served, across all kinds. The first caller gets an acquisition, and so an entry in etcd, if fewer entries of its
 * kind are here than may hold together: more could not hold anyway. So exclusive callers have one entry together, and shared callers
 * have one each. A release with a next caller hands over in one transaction.
 *
 * Read in this folder: local-queues.ts (the way in), local-queue.ts, acquisition.ts (one caller's way to its lock), caller.ts,
 * try-acquire.ts (the try that does not wait), outage.ts.
 */
import type { Instant } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { EntryGoneError } from '../entry/value-writer.ts';
import { isFinal } from '../errors.ts';
import { queueRange, type QueueRange } from '../keys.ts';
import { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { OutcomeUnknownError } from '../store/store.ts';
import { quote } from '../text.ts';
import { Acquisition, type AcquisitionQueue } from './acquisition.ts';
import type { Caller } from './caller.ts';
import { Outage } from './outage.ts';

export class LocalQueue implements AcquisitionQueue {
  readonly name: string;
  readonly range: QueueRange;
  readonly #context: LockerContext;
  readonly #outage: Outage;
  readonly #onEmpty: () => void;
  /** The callers without an acquisition. */
  #callers: Caller<LockHandle>[] = [];
  /** In the order of their callers. */
  #acquisitions: readonly Acquisition[] = none;
  #holders: readonly Entry[] = none;

  constructor(context: LockerContext, name: string, onEmpty: () => void) {
    this.#context = context;
    this.#outage = new Outage(context);
    this.name = name;
    this.range = queueRange(context.prefix, name);
    this.#onEmpty = onEmpty;
  }

  /** Whether a caller or a holder of this process is in the way of a new caller with `slots`. Reads the clocks. */
  checkTaken(slots: number): boolean {
    const held = this.#holders.filter((entry) => entry.session.checkOpen() && entry.isHeld);
    const others = [...held, ...this.#acquisitions.filter(({ caller }) => caller !== undefined)];
    return this.#callers.length > 0 || others.length >= slots || others.some((one) => one.slots !== slots);
  }

  /** The callers that wait, in their order, with the key of the entry if there is one. */
  get waiters(): readonly { readonly caller: Caller<LockHandle>; readonly key: string | undefined }[] {
    return [
      ...this.#acquisitions.flatMap(({ caller, key }) => (caller === undefined ? [] : [{ caller, key }])),
      ...this.#callers.map((caller) => ({ caller, key: undefined })),
    ];
  }

  get heldEntries(): readonly Pick<Entry, 'key' | 'token'>[] {
    return this.#holders.filter(({ isHeld }) => isHeld);
  }

  /** Resolves once etcd has the entry of each present acquisition, or the acquisition has ended. */
  async whenEnqueued(): Promise<void> {
    await Promise.all(this.#acquisitions.map((acquisition) => acquisition.whenEnqueued()));
  }

  /** Takes in that this process deleted all entries of the name that were created before `token`. */
  onSteal(token: bigint): void {
    for (const one of [...this.#holders, ...this.#acquisitions]) one.onSteal(token);
  }

  join(caller: Caller<LockHandle>): void {
    caller.onEndWithoutLock(() => {
      this.#removeCaller(caller);
      this.#startAcquisitions();
    });
    this.#callers.push(caller);
    this.#startAcquisitions();
  }

  /** Turns an admitted entry into a held lock. */
  hold(entry: Entry, { maxHoldMs }: Pick<ResolvedLockOptions, 'maxHoldMs'>): LockHandle {
    this.#holders = [...this.#holders, entry];
    const release = (): Promise<void> => this.#release(entry);
    const onLost = (): void => {
      this.#removeHolder(entry);
      this.#startAcquisitions();
    };
    const lock = new LockHandle(this.#context.clock, this.name, entry, release, onLost);
    if (maxHoldMs !== undefined) lock.limitHold(maxHoldMs);
    return lock;
  }

  /** Rejects the callers that wait. */
  close(reason: unknown): void {
    for (const { caller } of this.waiters) caller.reject(reason);
  }

  #hasRoom(slots: number): boolean {
    if (slots === Infinity) return true;
    const isOfKind = (one: { readonly slots: number }): boolean => one.slots === slots;
    return this.#acquisitions.filter(isOfKind).length + this.#holders.filter(isOfKind).length < slots;
  }

  /** Gives acquisitions to the first callers, as far as there is room. */
  #startAcquisitions(): void {
    for (let next = this.#callers[0]; next !== undefined && this.#hasRoom(next.options.slots); next = this.#callers[0]) {
      void this.#newAcquisition(next).run();
    }
    if (this.#callers.length + this.#acquisitions.length + this.#holders.length === 0) this.#onEmpty();
  }

  /** Takes the first caller, `caller`, out of the local queue and gives it an acquisition. */
  #newAcquisition(caller: Caller<LockHandle>): Acquisition {
    this.#shiftCaller();
    const acquisition = new Acquisition(this.#context, this, caller);
    this.#acquisitions = [...this.#acquisitions, acquisition];
    return acquisition;
  }

  #shiftCaller(): void {
    this.#callers.shift();
    // A held name must not keep the memory that its callers took.
    if (this.#callers.length === 0) this.#callers = [];
  }

  #removeCaller(caller: Caller<LockHandle>): void {
    const index = this.#callers.indexOf(caller);
    if (index >= 0) {
      this.#callers.splice(index, 1);
      return;
    }
    const acquisition = this.#acquisitions.find((one) => one.caller === caller);
    if (acquisition?.isUnqueued === true) this.#wakeOtherKinds(acquisition);
    acquisition?.removeCaller();
  }

  #removeHolder(entry: Entry): void {
    this.#holders = without(this.#holders, entry);
  }

  #release(entry: Entry): Promise<void> {
    // First of all: a released lock can no longer be lost when the clocks are read below.
    entry.startRelease();
    this.#removeHolder(entry);
    const next = this.#callers[0];
    const mayFollow =
      next !== undefined && this.#hasRoom(next.options.slots) && !this.#wouldOvertake(this.#acquisitions, next.options.slots);
    const session = mayFollow ? this.#context.sessions.enterAtOnce(next.options) : undefined;
    if (next !== undefined && session !== undefined) this.#newAcquisition(next).runHandOver(entry, session, next);
    else entry.release();
    this.#startAcquisitions();
    return entry.whenReleased();
  }

  // Only the last acquisition may be inherited: with an earlier one, the next caller would overtake those behind it.
  inheritNextCaller(acquisition: Acquisition): void {
    const [next] = this.#callers;
    if (next === undefined || next.options.slots !== acquisition.slots || this.#acquisitions.at(-1) !== acquisition) return;
    this.#shiftCaller();
    acquisition.setCaller(next);
    this.#startAcquisitions();
  }

  // Within one kind the order does not matter: all acquisitions of a kind may hold together.
  #wouldOvertake(earlier: readonly Acquisition[], slots: number): boolean {
    return earlier.some((one) => one.slots !== slots && one.isUnqueued);
  }

  mustWait(acquisition: Acquisition): boolean {
    return this.#wouldOvertake(this.#acquisitions.slice(0, this.#acquisitions.indexOf(acquisition)), acquisition.slots);
  }

  onEnqueued(acquisition: Acquisition): void {
    this.#wakeOtherKinds(acquisition);
  }

  #wakeOtherKinds({ slots }: Acquisition): void {
    for (const one of this.#acquisitions) if (one.slots !== slots && one.isUnqueued) one.wake();
  }

  onAdmitted(acquisition: Acquisition, entry: Entry, caller: Caller<LockHandle>): void {
    this.#acquisitions = without(this.#acquisitions, acquisition);
    caller.resolve(this.hold(entry, caller.options));
  }

  onEnded(acquisition: Acquisition): void {
    this.#acquisitions = without(this.#acquisitions, acquisition);
    this.#startAcquisitions();
  }

  onResponse(): void {
    this.#outage.onResponse();
  }

  timeLeftMs(caller: Caller<LockHandle>): number {
    return this.#outage.timeLeftMs(caller);
  }

  onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): void {
    this.#outage.onFailure(error, startedAt);
    const isSettledNext = error instanceof OutcomeUnknownError && this.timeLeftMs(caller) > 1;
    if (error instanceof EntryGoneError || isSettledNext) return;
    if (isFinal(error)) caller.reject(error);
    else if (caller.wasEnqueued) this.#context.outageLog.warn(`still waiting for lock ${quote(this.name)}: ${String(error)}`);
    else if (this.#outage.isOn) this.#rejectOverdue(caller);
    else caller.reject(error);
  }

  /** Rejects a caller whose step failed in an outage, and all others whose time is up. */
  #rejectOverdue(failed: Caller<LockHandle>): void {
    for (const { caller } of this.waiters) {
      if (caller === failed || this.timeLeftMs(caller) <= 1) caller.reject(this.#outage.toError());
    }
  }
}

const none: readonly never[] = [];

const without = <T>(list: readonly T[], item: T): readonly T[] =>
  list.length === 1 && list[0] === item ? none : list.filter((one) => one !== item);
