/**
 * The entries before a waiter: what the last look found, and what has happened since that calls for another look.
 *
 * A waiter watches its obstacle: a single entry, or the whole queue if several entries have to go. It looks again
 * - once enough of them are deleted; while a look is under way, any deletion counts;
 * - if the watch starts at a later revision than its last look, or at an earlier one, which proves nothing;
 * - after a third of the TTL in any case: the slow look.
 * The watch starts at the present revision. With a start revision in the past, etcd delivers events in steps of 100 ms.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { isExact, type QueueRange } from '../keys.ts';
import type { Session } from '../session/session.ts';
import type { KeyValue, WatchEvent, WatchRequest } from '../store/store.ts';
import { findObstacle, type Obstacle } from './admission.ts';

export class Predecessors {
  readonly #context: Context;
  readonly #queue: QueueRange;
  readonly #slots: number;
  readonly #session: Session;
  readonly #onChange: () => void;
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
  /** Whether the watch was confirmed, since the last look was sent, at a revision that proves nothing. */
  #isWatchUnproven = false;
  #slowLookAt: Instant | undefined;
  #obstacle: Obstacle | undefined;
  /** The entries of the obstacle that are not known to be deleted. */
  #remaining: Set<string> | undefined;
  #watched: { readonly key: string; readonly stop: () => void } | undefined;

  constructor(context: Context, queue: QueueRange, slots: number, session: Session, onChange: () => void) {
    this.#context = context;
    this.#queue = queue;
    this.#slots = slots;
    this.#session = session;
    this.#onChange = onChange;
  }

  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  get needsLook(): boolean {
    return this.#isLookDue || this.#isWatchUnproven || this.#changedAt > this.#lookedAt;
  }

  /** Takes in that a look is sent now. It sees all changes that are known by now, even if its revision is lower. */
  startLook(): void {
    this.#changedAtBeforeLook = this.#changedAt;
    this.#isLooking = true;
    this.#isLookForgotten = false;
    this.#isWatchUnproven = false;
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
    this.#obstacle = findObstacle(this.#queue, this.#slots, ahead);
    this.#isAdmitted = this.#obstacle === undefined;
    this.#remaining = this.#obstacle === undefined ? undefined : new Set(this.#obstacle.keys);
    this.#scheduleSlowLook();
  }

  /** Takes in that a read at `revision`, made for another entry, found this entry admitted. Returns whether that is news. */
  onSeenAdmitted(revision: bigint): boolean {
    if (this.#isLookDue || revision < this.#changedAt || revision <= this.#lookedAt) return false;
    this.#lookedAt = revision;
    this.#changedAt = 0n;
    this.#obstacle = undefined;
    this.#isAdmitted = true;
    return true;
  }

  /** Makes the last look count no more, nor one that is under way. */
  forgetLook(): void {
    this.#isAdmitted = false;
    this.#isLookDue = true;
    this.#isLookForgotten = this.#isLooking;
  }

  /** Takes in a change at `revision`. Only a look that saw this revision counts from now on. */
  onChangeAt(revision: bigint): void {
    if (revision <= this.#changedAt) return;
    this.#changedAt = revision;
    if (this.needsLook) this.#onChange();
  }

  /** Watches the obstacle that the last look found. */
  watch(): void {
    if (this.#obstacle === undefined) return;
    this.#session.occupy();
    const request = this.#watchRequestFor(this.#obstacle);
    if (request.key === this.#watched?.key) return;
    this.stop();
    const stop = this.#context.store.watch(request, {
      created: (revision) => {
        this.#onWatchCreated(revision);
      },
      events: (events) => {
        for (const event of events) this.#onEvent(event);
      },
    });
    this.#watched = { key: request.key, stop };
  }

  #watchRequestFor({ keys: [key, ...others] }: Obstacle): WatchRequest {
    const isSingle = key !== undefined && others.length === 0 && isExact(key);
    const range = isSingle ? { key } : this.#queue;
    return { ...range, deletesOnly: true, knownRevision: this.#lookedAt };
  }

  #onWatchCreated(revision: bigint): void {
    if (revision < this.#lookedAt) {
      this.#isWatchUnproven = true;
      this.#onChange();
    } else {
      this.onChangeAt(revision);
    }
  }

  stop(): void {
    this.#watched?.stop();
    this.#watched = undefined;
  }

  /** Calls for a slow look if one is due: servers have lost deletions (etcd #17529, #18089, #19179). */
  tick(now: Instant): void {
    if (this.#isAdmitted || this.#slowLookAt === undefined || msUntil(this.#slowLookAt, now) > 0) return;
    this.#slowLookAt = undefined;
    this.#isLookDue = true;
    this.#onChange();
  }

  #scheduleSlowLook(): void {
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#session.ttlMs / 3);
  }

  #onEvent({ type, kv }: WatchEvent): void {
    if (type !== 'delete' || kv.modRevision <= this.#lookedAt) return;
    if (this.#obstacle === undefined || this.#remaining === undefined) return;
    const { keys, enough } = this.#obstacle;
    this.#remaining.delete(kv.key);
    // While a look is under way, every deletion counts: the keys that it will find are not known yet.
    if (this.#isLooking || keys.length - this.#remaining.size >= enough) this.onChangeAt(kv.modRevision);
  }
}
