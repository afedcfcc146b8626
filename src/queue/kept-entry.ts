/**
 * A kept entry: a released lock whose entry stays in etcd. The next caller of this process takes it without a request.
 *
 * In etcd it is a held lock. Its session renews it, and every loss reaches it as it reaches a hold. It may be given to a caller only while
 * - its session is open, takes entries and has its deadline well ahead;
 * - nobody is known to wait behind it: that is a recall, and it survives the next hold;
 * - the watch that would notice a waiter is confirmed, or was so less than a try ago;
 * - its time is not over.
 * Otherwise it is given back. docs/protocol.md, "Kept locks", has the rules.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { ContenderWatch } from '../entry/contender-watch.ts';
import type { Entry } from '../entry/entry.ts';
import type { Holder } from '../entry/loss-notice.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';

/** The part of a local queue that its kept entry uses. */
export interface KeptEntryOwner {
  readonly name: string;
  /** The entry must not, or no longer, be kept. No caller has it. */
  giveBackKept(kept: KeptEntry): void;
  /** The entry is gone. */
  onKeptLost(kept: KeptEntry): void;
  /** The entry may have to be given back earlier than at the end of its time. */
  onKeptDue(kept: KeptEntry): void;
}

export class KeptEntry implements Holder {
  readonly entry: Entry;
  readonly owner: KeptEntryOwner;
  readonly contenders: ContenderWatch;
  readonly #context: LockerContext;
  #state: 'kept' | 'reserved' | 'held' = 'held';
  #keptUntil: Instant | undefined;
  /** Resolves once it is no longer reserved. Undefined if nobody waits for that. */
  #decided: Deferred<void> | undefined;

  /** Watches the queue of a held entry from now on, unless `watch` does so. It counts as held until `keep`. */
  constructor(context: LockerContext, owner: KeptEntryOwner, entry: Entry, watch = new ContenderWatch(context, entry)) {
    this.#context = context;
    this.owner = owner;
    this.entry = entry;
    this.contenders = watch;
    watch.listen({
      onChange: () => {
        this.#onContendersChange();
      },
    });
    watch.start();
  }

  /** Whether a caller holds it, or is about to. */
  get isTaken(): boolean {
    return this.#state !== 'kept';
  }

  get isReserved(): boolean {
    return this.#state === 'reserved';
  }

  /** Whether somebody was seen to wait behind it. */
  get isRecalled(): boolean {
    return this.contenders.isWanted;
  }

  /** When it has to be given back at the latest. A watch that is confirmed meanwhile moves that. */
  get dueAt(): Instant {
    const { unconfirmedSince } = this.contenders;
    const keptUntil = this.#keptUntil ?? this.#context.clock.now();
    if (unconfirmedSince === undefined) return keptUntil;
    const watchDueAt = addMs(unconfirmedSince, tryMs(this.#context));
    return msUntil(watchDueAt, keptUntil) < 0 ? watchDueAt : keptUntil;
  }

  /** Whether the lock may be given out, as far as its session is concerned. Reads the clocks. */
  get isSafe(): boolean {
    return isSafe(this.entry);
  }

  /** Whether the queue would show a waiter, or did so less than a try ago. Reads the clocks. */
  get isWatched(): boolean {
    const { unconfirmedSince } = this.contenders;
    return unconfirmedSince === undefined || msUntil(addMs(unconfirmedSince, tryMs(this.#context)), this.#context.clock.now()) > 0;
  }

  /** Whether a caller may take the entry now. Reads the clocks. */
  isFor(options: ResolvedLockOptions): boolean {
    if (this.isTaken || this.isRecalled || !this.isSafe) return false;
    const { slots, session } = this.entry;
    return slots === options.slots && session.suits(options) && msUntil(this.dueAt, this.#context.clock.now()) > 0;
  }

  /** Keeps the entry of a lock that was released. */
  keep(keepMs: number): void {
    this.#state = 'kept';
    this.#keptUntil = addMs(this.#context.clock.now(), keepMs);
    this.entry.hold(this);
  }

  /** Reserves the entry for one caller. */
  reserve(): void {
    this.#state = 'reserved';
  }

  /** Resolves once that caller holds the entry, or does not take it, or the entry is gone. */
  whenDecided(): Promise<void> {
    return (this.#decided ??= deferred()).promise;
  }

  #endReservation(): void {
    this.#decided?.resolve();
    this.#decided = undefined;
  }

  onHold(): void {
    this.#state = 'held';
    this.#endReservation();
  }

  /** Takes in that its caller did not take the reserved entry. */
  putBack(): void {
    this.#state = 'kept';
    this.#endReservation();
  }

  /** Ends the watch. */
  stop(): void {
    this.contenders.stop();
    this.#endReservation();
  }

  onEntryLost(): void {
    this.stop();
    this.owner.onKeptLost(this);
  }

  onTick(): void {
    if (!this.isTaken && !this.isSafe) this.owner.giveBackKept(this);
  }

  #onContendersChange(): void {
    // A caller that has it releases it the ordinary way.
    if (this.isTaken) return;
    if (this.isRecalled) this.owner.giveBackKept(this);
    else if (!this.contenders.isConfirmed) this.owner.onKeptDue(this);
  }
}

/** Whether the session of a held entry lets its lock be given out. Reads the clocks. */
export function isSafe({ isHeld, session }: Entry): boolean {
  return isHeld && session.checkOpen() && !session.isSealed && session.isWellAhead;
}

/** For how long the watch of a kept entry may be unconfirmed: one host has that long to respond, and then the next one is asked. */
const tryMs = ({ requestTimeoutMs }: Pick<LockerContext, 'requestTimeoutMs'>): number => requestTimeoutMs / 2;
