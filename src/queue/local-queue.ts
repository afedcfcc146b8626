/**
 * The local queue of one name: its callers, acquisitions and held locks in this process.
 *
 * First come, first served, across all kinds. The first caller gets an acquisition, and so an entry in etcd, if fewer entries of its
 * kind are here than may hold together. So exclusive callers have one entry together, and shared callers have one each.
 *
 * Read in this folder: local-queues.ts, local-queue.ts, acquisition.ts (one caller's way to its lock), shared-requests.ts (the order of
 * creations), caller.ts, try-acquire.ts (no waiting), keeper.ts (kept entries), occupancy.ts (busy or not), outage.ts, head-reads.ts.
 */
import type { Instant } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { queueRange, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import { Hold } from '../lock/hold.ts';
import { LockHandle } from '../lock/lock-handle.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { Acquisition } from './acquisition.ts';
import type { AcquisitionQueue } from './acquisition-queue.ts';
import type { Caller, HoldingCaller } from './caller.ts';
import { isBusyFor, isHeldBefore, isHeldNow, type Occupancy } from './occupancy.ts';
import { rejectAfterFailure } from './failed-caller.ts';
import { Keeper, type KeeperQueue } from './keeper.ts';
import { OrderedList } from './ordered-list.ts';
import { Outage } from './outage.ts';
import type { QueueOwner } from './queue-owner.ts';
import { createGroup, lookTogether, takeGroup } from './shared-requests.ts';
import { none, without } from './short-list.ts';

export class LocalQueue implements AcquisitionQueue<Acquisition>, KeeperQueue {
  readonly name: string;
  readonly range: QueueRange;
  readonly outage: Outage;
  callerListeners: Set<() => void> | undefined;
  /** Undefined before the first release that may keep an entry. */
  keeper: Keeper | undefined;
  readonly #context: LockerContext;
  readonly #owner: QueueOwner;
  /** The callers without an acquisition. */
  readonly #callers = new OrderedList<Caller<LockHandle>>((caller) => caller.isWaiting && !caller.hasAcquisition);
  /** In the order of their callers. */
  readonly #acquisitions = new OrderedList<Acquisition>((acquisition) => !acquisition.isOver);
  #holders: readonly Entry[] = none;
  /** The tries that are under way. Later callers are created after them. */
  #tries: readonly object[] = none;
  /** How often it has turned out that the name is busy: a lock was held here, or etcd reported an obstacle. */
  #sightings = 0;

  constructor(context: LockerContext, name: string, owner: QueueOwner) {
    this.#context = context;
    this.outage = new Outage(context);
    this.name = name;
    this.range = queueRange(context.prefix, name);
    this.#owner = owner;
  }

  /** Returns what a new caller with `slots` finds. Reads the clocks. */
  checkOccupancy(slots: number): Occupancy {
    if (isBusyFor(this.#holders, this.#acquisitions, slots)) return 'busy';
    const others = [...this.#holders.filter(isHeldNow), ...[...this.#acquisitions].filter(({ caller }) => caller !== undefined)];
    const isTaken = this.#callers.size > 0 || others.length >= slots || others.some((one) => one.slots !== slots);
    return isTaken ? 'undecided' : 'free';
  }

  /**
   * Whether it is known that another holder or waiter is before the caller. Reads the clocks.
   *
   * etcd has said so in the time of the caller, or this process holds the name, or has an earlier entry in the queue.
   */
  isBusyFor(caller: Caller<LockHandle>): boolean {
    if (caller.knowsBusy) return true;
    if (caller.hasAcquisition) return isHeldBefore(this.#holders, caller.options.slots);
    return this.#sightings > caller.sightingsBefore || isBusyFor(this.#holders, this.#acquisitions, caller.options.slots);
  }

  /** The callers that wait, in their order, with the key of the entry if there is one. */
  *waiters(): Generator<{ readonly caller: Caller<LockHandle>; readonly key: string | undefined }, void, undefined> {
    for (const { caller, key } of this.#acquisitions) if (caller !== undefined) yield { caller, key };
    for (const caller of this.#callers) yield { caller, key: undefined };
  }

  get heldEntries(): readonly Pick<Entry, 'key' | 'token'>[] {
    return this.#holders.filter(({ isHeld }) => isHeld);
  }

  /** Whether etcd has no entry yet for one of the acquisitions. */
  get hasUnqueued(): boolean {
    return [...this.#acquisitions].some(({ isUnqueued }) => isUnqueued);
  }

  /** Resolves once etcd has the entry of each present acquisition, or the acquisition has ended. */
  async whenEnqueued(): Promise<void> {
    await Promise.all([...this.#acquisitions].map((acquisition) => acquisition.whenEnqueued()));
  }

  /** Waits until the callers of now have an entry, or have given up. Returns whether the name is busy for a caller with `slots`. */
  async whenDecided(slots: number): Promise<boolean> {
    const before = this.checkOccupancy(slots) === 'undecided' ? this.#sightings : Infinity;
    await this.whenEnqueued();
    return this.#sightings > before || this.checkOccupancy(slots) === 'busy';
  }

  /** Takes in that this process deleted all entries of the name that were created before `token`. */
  onSteal(token: bigint): void {
    for (const one of [...this.#holders, ...this.#acquisitions]) one.onSteal(token);
    this.keeper?.onSteal(token);
  }

  get firstCaller(): Caller<LockHandle> | undefined {
    return this.#callers.first;
  }

  get hasAcquisitions(): boolean {
    return this.#acquisitions.size > 0;
  }

  holdForFirst(entry: Entry, caller: Caller<LockHandle>): void {
    caller.hasAcquisition = true;
    this.#callers.onLeave();
    caller.resolve(this.hold(entry, caller));
  }

  join(caller: Caller<LockHandle>): void {
    caller.onEndWithoutLock(() => {
      this.#callers.onLeave();
      this.startAcquisitions();
    });
    caller.sightingsBefore = this.#sightings;
    this.#callers.push(caller);
    this.startAcquisitions();
    if (this.isBusyFor(caller)) caller.knowsBusy = true;
    if (this.callerListeners !== undefined && !caller.hasAcquisition) for (const notify of this.callerListeners) notify();
  }

  /** Turns an admitted entry into a held lock. */
  hold(entry: Entry, { joinedAt, options: { maxHoldMs, minHoldMs, keepMs } }: HoldingCaller): LockHandle {
    this.#holders = [...this.#holders, entry];
    this.#sightings += 1;
    this.keeper?.onHold(entry);
    const onLost = (): void => {
      this.keeper?.forget(entry);
      this.removeHolder(entry);
      this.startAcquisitions();
    };
    const hold = new Hold(this.#context, this, entry, joinedAt, () => this.release(entry), onLost);
    if (maxHoldMs !== undefined) hold.limit(maxHoldMs);
    if (minHoldMs !== undefined) hold.require(minHoldMs);
    if (keepMs !== undefined) {
      const keeper = (this.keeper ??= new Keeper(this.#context, this.#owner.kept, this));
      hold.keepEntry = (watch) => keeper.keep(entry, keepMs, watch);
    }
    return new LockHandle(hold);
  }

  /** Rejects the callers that wait. */
  rejectAll(reason: unknown): void {
    for (const { caller } of [...this.waiters()]) caller.reject(reason);
  }

  #hasRoom(slots: number): boolean {
    if (slots === Infinity) return true;
    if (slots === exclusive && this.keeper?.isReserved === true) return false;
    let count = 0;
    for (const one of this.#holders) if (one.slots === slots) count += 1;
    if (this.#acquisitions.size > 0) for (const one of this.#acquisitions) if (one.slots === slots) count += 1;
    return count < slots;
  }

  /** Gives acquisitions to the first callers, as far as there is room. */
  startAcquisitions(): void {
    this.keeper?.serve();
    for (let next = this.#callers.first; next !== undefined && this.#hasRoom(next.options.slots); next = this.#callers.first) {
      void this.#newAcquisition(next).run();
    }
    if (this.#callers.size + this.#acquisitions.size + this.#holders.length + this.#tries.length > 0) return;
    if (this.keeper?.hasEntry !== true) this.#owner.onEmpty(this);
  }

  beginTry(one: object): void {
    this.#tries = [...this.#tries, one];
  }

  endTry(one: object): void {
    this.#tries = without(this.#tries, one);
    this.onTurnOver();
    this.startAcquisitions();
  }

  /** Takes the first caller, `caller`, out of the local queue and gives it an acquisition. */
  #newAcquisition(caller: Caller<LockHandle>): Acquisition {
    const acquisition = new Acquisition(this.#context, this, caller, this.#tries);
    this.#serve(caller, acquisition);
    this.#acquisitions.push(acquisition);
    return acquisition;
  }

  #serve(caller: Caller<LockHandle>, acquisition: Acquisition): void {
    caller.hasAcquisition = true;
    if (this.#sightings > caller.sightingsBefore) caller.knowsBusy = true;
    this.#callers.onLeave();
    caller.onEndWithoutLock(() => {
      const delayedLater = acquisition.delaysLater;
      acquisition.removeCaller();
      if (delayedLater) this.onTurnOver();
      this.startAcquisitions();
    });
  }

  #endAcquisition(acquisition: Acquisition): void {
    acquisition.isOver = true;
    this.#acquisitions.onLeave();
  }

  removeHolder(entry: Entry): void {
    this.#holders = without(this.#holders, entry);
    this.#owner.onHolderGone();
  }

  release(entry: Entry): Promise<void> {
    // First of all: a released lock can no longer be lost when the clocks are read below.
    entry.startRelease();
    this.keeper?.forget(entry);
    this.removeHolder(entry);
    const next = entry.minimumHold?.isPending === true ? undefined : this.#callers.first;
    const mayFollow = next !== undefined && this.#hasRoom(next.options.slots) && this.#mayFollow(next.options.slots);
    const session = mayFollow ? this.#context.sessions.enterAtOnce(next.options) : undefined;
    if (next !== undefined && session !== undefined) this.#newAcquisition(next).runHandOver(entry, session, next);
    else entry.release();
    this.startAcquisitions();
    return entry.whenReleased();
  }

  // Only the last acquisition may be inherited: with an earlier one, the next caller would overtake those behind it.
  inheritNextCaller(acquisition: Acquisition): void {
    const next = this.#callers.first;
    if (next === undefined || next.options.slots !== acquisition.slots || this.#acquisitions.last !== acquisition) return;
    this.#serve(next, acquisition);
    acquisition.setCaller(next);
    this.startAcquisitions();
  }

  // A release never waits for an earlier caller whose entry is being created.
  #mayFollow(slots: number): boolean {
    for (const one of this.#acquisitions) if (one.delaysLater && (one.creatable === undefined || one.slots !== slots)) return false;
    return true;
  }

  create(acquisition: Acquisition): void {
    const group = takeGroup(this.#acquisitions, acquisition, this.#tries);
    if (group === undefined) return;
    const timeLeftMs = ({ caller }: Acquisition): number => (caller === undefined ? 1 : this.timeLeftMs(caller));
    const creation = createGroup(this.#context, this.range, this.#acquisitions, group, timeLeftMs).then(() => {
      this.grant();
      this.onTurnOver();
    });
    for (const one of group) one.acquisition.startCreation(creation);
  }

  async look(acquisition: Acquisition): Promise<void> {
    await lookTogether(this.#context, this.range, this.#acquisitions, acquisition);
    this.grant();
  }

  onTurnOver(): void {
    for (const one of this.#acquisitions) {
      if (one.creation.awaitsTurn) one.wake();
      if (one.creation.awaitsTurn || one.delaysLater) return;
    }
  }

  grant(): void {
    for (const one of this.#acquisitions) one.holdIfReady();
  }

  onObstructed(): void {
    this.#sightings += 1;
  }

  onAdmitted(acquisition: Acquisition, entry: Entry, caller: Caller<LockHandle>): void {
    this.#endAcquisition(acquisition);
    caller.resolve(this.hold(entry, caller));
  }

  onEnded(acquisition: Acquisition): void {
    this.#endAcquisition(acquisition);
    this.onTurnOver();
    this.startAcquisitions();
  }

  get acquisitions(): Iterable<Acquisition> {
    return this.#acquisitions;
  }

  timeLeftMs(caller: Caller<LockHandle>): number {
    return this.outage.timeLeftMs(caller);
  }

  onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): void {
    rejectAfterFailure(this.#context, this, caller, error, startedAt);
  }
}
