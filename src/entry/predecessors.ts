/**
 * The entries before a waiter: what the last look found, and what has happened since that admits the waiter or calls for another look.
 *
 * An obstacle is either *all that is in the way*, and then its deletion admits. Or it is *the nearest of it*, and then its deletion calls
 * for a look. The first is the usual case: a waiter looks when it becomes second, so a hand-over takes one round trip. Why that is safe:
 *
 * - The look at revision L was linearizable, and nobody can come before the waiter after it. A deletion at L or before is ignored: keys
 *   are used again, and members lag.
 * - The waiter's own entry is there for as long as its lease, unless somebody steals or breaks it. A watch on it reports that, and it has
 *   to cover the look: docs/decisions/027-second-place.md.
 *
 * A waiter looks again after a deletion that does not admit it; if a watch starts at a later revision than its last look, or at one that
 * proves nothing; and after a third of the TTL in any case: the slow look.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { exclusive } from '../kind.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';
import { findObstacle, type Obstacle } from './admission.ts';
import { type WatchedEntry, WaiterWatches } from './waiter-watches.ts';

/** Has entries that wait together. */
export interface EntryOwner {
  /** The entry needs a next step. */
  onEntryChange(): void;
  /** Calls `onDeletions` of all entries of this kind that wait. */
  shareDeletions(events: readonly WatchEvent[]): void;
}

export class Predecessors {
  readonly #context: Context;
  readonly #own: WatchedEntry;
  readonly #owner: EntryOwner | undefined;
  #isAdmitted = false;
  /** The revision of the last look. */
  #lookedAt = 0n;
  /** The newest revision that calls for a look; 0 if none does. */
  #changedAt = 1n;
  #changedAtBeforeLook = 0n;
  #isLooking = false;
  #isLookDue = false;
  /** Whether the look that is under way counts no more. */
  #isLookForgotten = false;
  /** How often a watch was confirmed, since the last look was sent, in a way that proves nothing. */
  #unproven = 0;
  #unprovenBeforeLook = 0;
  /** Whether a deletion may admit by the last look: since its sending no watch broke, nobody stole, and nothing made it count no more. */
  #isViewGood = false;
  /** The same of the look that is under way. */
  #isNextViewGood = true;
  #slowLookAt: Instant | undefined;
  #obstacle: Obstacle | undefined;
  /** The entries of the obstacle that are not known to be deleted. */
  #remaining: Set<string> = none;
  /** The deletions that were reported since the look that is under way was sent, with their revisions. */
  #deletedMeanwhile: Map<string, bigint> | undefined;
  #watches: WaiterWatches | undefined;
  /** The confirmation of the watch on the own entry when the last look was sent. */
  #confirmation: object | undefined;
  #confirmationBeforeLook: object | undefined;
  #isAdmittedByDeletion = false;

  constructor(context: Context, own: WatchedEntry, owner: EntryOwner | undefined) {
    this.#context = context;
    this.#own = own;
    this.#owner = owner;
  }

  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  get needsLook(): boolean {
    return this.#isLookDue || this.#unproven > 0 || this.#changedAt > this.#lookedAt;
  }

  /** Whether the last look found an obstacle, and nothing since calls for another look. */
  get hasObstacle(): boolean {
    return this.#obstacle !== undefined && !this.needsLook;
  }

  /** Takes in that a look is sent now. It sees all changes that are known by now, even if its revision is lower. */
  startLook(): void {
    // This look may make the entry second. A watch that is created before it is confirmed at no later revision, as a rule.
    if (this.#obstacle?.isAll === false && this.#remaining.size < this.#obstacle.keys.length) this.#watches?.watchOwn(this.#lookedAt);
    this.#changedAtBeforeLook = this.#changedAt;
    this.#unprovenBeforeLook = this.#unproven;
    this.#confirmationBeforeLook = this.#watches?.confirmation;
    this.#deletedMeanwhile = undefined;
    this.#isLooking = true;
    this.#isLookForgotten = false;
    this.#isNextViewGood = true;
    // The next slow look does not depend on the fate of this one.
    this.#scheduleSlowLook();
  }

  /** Takes in a look at `revision` that found the entries `ahead`. */
  onLook(revision: bigint, ahead: readonly KeyValue[]): void {
    this.#lookedAt = revision;
    this.#isLooking = false;
    this.#isLookDue = this.#isLookForgotten;
    // Revisions alone do not decide: they go back when etcd is restored from a snapshot.
    if (this.#changedAt === this.#changedAtBeforeLook) this.#changedAt = 0n;
    if (this.#unproven === this.#unprovenBeforeLook) this.#unproven = 0;
    this.#isViewGood = this.#isNextViewGood && this.#changedAt <= revision;
    this.#confirmation = this.#confirmationBeforeLook;
    this.#obstacle = findObstacle(this.#own.queue, this.#own.slots, ahead);
    this.#isAdmitted = this.#obstacle === undefined;
    this.#isAdmittedByDeletion = false;
    this.#remaining = this.#obstacle === undefined ? none : new Set(this.#obstacle.keys);
    if (!this.#isAdmitted) this.#scheduleSlowLook();
    // A look that was sent before a deletion need not have seen it.
    const deletions = this.#deletedMeanwhile ?? [];
    this.#deletedMeanwhile = undefined;
    for (const [key, deletedAt] of deletions) this.#takeDeletion(key, deletedAt);
  }

  /** Takes in that a read at `revision`, made for another entry, found this entry admitted. Returns whether that is news. */
  onSeenAdmitted(revision: bigint): boolean {
    if (this.#isLookDue || revision < this.#changedAt || revision <= this.#lookedAt) return false;
    this.#lookedAt = revision;
    this.#confirmation = undefined;
    this.#admit(false);
    return true;
  }

  #admit(isByDeletion: boolean): void {
    this.#isAdmitted = true;
    this.#isAdmittedByDeletion = isByDeletion;
    this.#obstacle = undefined;
    this.#changedAt = 0n;
    this.#unproven = 0;
    this.#isLookDue = false;
  }

  /** Makes the last look count no more, nor one that is under way. */
  forgetLook(): void {
    this.#isAdmitted = false;
    this.#isLookDue = true;
    this.#isLookForgotten = this.#isLooking;
    this.#doubtView();
  }

  /** Takes in that this process deleted all entries that were created before `revision`. */
  onSteal(revision: bigint): void {
    this.#doubtView();
    this.#onChangeAt(revision);
  }

  /** No deletion admits by what is known of the queue, until a look that is sent from now on. */
  #doubtView(): void {
    this.#isViewGood = false;
    this.#isNextViewGood = false;
    this.#deletedMeanwhile = undefined;
  }

  /** Takes in a change at `revision`. Only a look that saw this revision counts from now on. */
  #onChangeAt(revision: bigint): void {
    if (revision <= this.#changedAt) return;
    this.#changedAt = revision;
    if (this.needsLook) this.#owner?.onEntryChange();
  }

  /** A watch was confirmed for the first time. */
  #onCreated(revision: bigint): void {
    // The obstacle may be deleted already, and the watch on the own entry was confirmed only now. Entries that hold together look instead:
    // an earlier one of this process may be about to look.
    if (this.#own.slots === exclusive && this.isOwnCovered && this.#decide(0n)) this.#owner?.onEntryChange();
    if (!this.#isAdmitted) this.#onChangeAt(revision);
  }

  /** A watch was confirmed in a way that proves nothing about the time before. */
  #onUnproven(): void {
    this.#doubtView();
    this.#unproven += 1;
    this.#owner?.onEntryChange();
  }

  /** Takes in that entries of the queue were deleted. They admit only if the entry `mayAdmit` now; otherwise a look has to come. */
  onDeletions(events: readonly WatchEvent[], mayAdmit = true): void {
    // The watch of another entry may report the end of this one too.
    if (events.some(({ kv }) => kv.key === this.#own.key && kv.modRevision > this.#own.token)) {
      this.#own.lose('deleted');
      return;
    }
    let isNews = false;
    for (const { type, kv } of events) {
      if (type !== 'delete') continue;
      if (this.#isLooking) (this.#deletedMeanwhile ??= new Map()).set(kv.key, kv.modRevision);
      if (this.#takeDeletion(kv.key, kv.modRevision, mayAdmit)) isNews = true;
    }
    if (isNews) this.#owner?.onEntryChange();
  }

  /** Takes in that the key was deleted. Returns whether that admits the entry, or calls for a look. */
  #takeDeletion(key: string, deletedAt: bigint, mayAdmit = true): boolean {
    return deletedAt > this.#lookedAt && this.#remaining.delete(key) && this.#decide(deletedAt, mayAdmit);
  }

  #decide(deletedAt: bigint, mayAdmit = true): boolean {
    if (this.#obstacle === undefined) return false;
    const { keys, enough, isAll } = this.#obstacle;
    if (keys.length - this.#remaining.size < enough) return false;
    if (mayAdmit && isAll && this.#isViewGood && this.isOwnCovered) this.#admit(true);
    else if (deletedAt > this.#changedAt) this.#changedAt = deletedAt;
    return true;
  }

  /** Whether the watches would report the end of the own entry since the last look. */
  get isOwnCovered(): boolean {
    return this.#watches?.covers(this.#lookedAt, this.#confirmation) === true;
  }

  /** Watches the obstacle that the last look found. */
  watch(): void {
    if (this.#obstacle === undefined) return;
    this.#own.session.occupy();
    this.#openWatches().watch(this.#obstacle, this.#lookedAt);
  }

  /** Watches the own entry, also without an obstacle: something else comes between the look and the hold. */
  watchOwn(): void {
    this.#openWatches().watchOwn(this.#lookedAt);
  }

  #openWatches(): WaiterWatches {
    return (this.#watches ??= new WaiterWatches(this.#context.store, this.#own, {
      created: (revision, isOrdinary) => {
        if (isOrdinary) this.#onCreated(revision);
        else this.#onUnproven();
      },
      broken: () => {
        this.#doubtView();
      },
      deleted: (events) => {
        const isNews = events.some(({ kv }) => kv.modRevision > this.#lookedAt && this.#remaining.has(kv.key));
        if (isNews && this.#owner !== undefined) this.#owner.shareDeletions(events);
        else this.onDeletions(events);
      },
    }));
  }

  /** Takes in that the entry is held. Returns whether its own key stays watched. */
  hold(): boolean {
    // A look has seen the own entry. A watch that does not cover it would cost another read.
    return this.#watches?.hold(this.#isAdmittedByDeletion || this.isOwnCovered) === true;
  }

  stop(): void {
    this.#slowLookAt = undefined;
    this.#watches?.stop();
  }

  /** Calls for a slow look if one is due: servers have lost deletions (etcd #17529, #18089, #19179). */
  tick(now: Instant): void {
    if (this.#own.isHeld) this.#watches?.tickHeld();
    if (this.#isAdmitted || this.#slowLookAt === undefined || msUntil(this.#slowLookAt, now) > 0) return;
    this.#slowLookAt = undefined;
    this.#isLookDue = true;
    this.#owner?.onEntryChange();
  }

  #scheduleSlowLook(): void {
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#own.session.ttlMs / 3);
  }
}

const none: Set<string> = new Set();
