/**
 * What an entry knows of its turn: what the last look saw, and what has happened since that calls for another.
 *
 * A waiter watches what is in its way, from now on: one entry, or the queue where several have to go. It looks again once enough of
 * them were deleted, or where the watch came to stand only after its look. A start revision in the past would make etcd deliver in
 * steps of 100 ms.
 */
import { type Obstacle, findObstacle } from './admission.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import { isExact, type QueueRange } from '../keys.ts';
import type { Session } from '../session/session.ts';
import type { Context } from '../context.ts';
import type { KeyValue, WatchEvent, WatchRequest } from '../store/store.ts';

export class Predecessors {
  readonly #context: Context;
  readonly #queue: QueueRange;
  readonly #slots: number;
  readonly #session: Session;
  readonly #onChange: () => void;
  #isAdmitted = false;
  #lookedAt = 0n;
  #changedAt = 1n;
  #changedBeforeLook = 0n;
  #isLooking = false;
  #isDue = false;
  #slowLookAt: Instant | undefined;
  #obstacle: Obstacle | undefined;
  /** The entries in the way that are not known to be gone. */
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
    return this.#isDue || this.#changedAt > this.#lookedAt;
  }

  /** To be called when a look is sent: whatever revision it is answered at, it sees all that was told before. */
  startLook(): void {
    this.#changedBeforeLook = this.#changedAt;
    this.#isLooking = true;
    // Whatever becomes of this one, there will be another.
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#session.ttlMs / 3);
  }

  /** Takes in a look at `revision`: who is before the entry, as far as its kind has to know. */
  looked(revision: bigint, ahead: readonly KeyValue[]): void {
    this.#lookedAt = revision;
    this.#isLooking = false;
    this.#isDue = false;
    // Not by the revisions alone: they go back where etcd was restored from a snapshot.
    if (this.#changedAt === this.#changedBeforeLook) this.#changedAt = 0n;
    this.#obstacle = findObstacle(this.#queue, this.#slots, ahead);
    this.#isAdmitted = this.#obstacle === undefined;
    this.#remaining = this.#obstacle === undefined ? undefined : new Set(this.#obstacle.keys);
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#session.ttlMs / 3);
  }

  /** What was seen does not count any more: not admitted until the next look. */
  forget(): void {
    this.#isAdmitted = false;
    this.#isDue = true;
  }

  /** Something has happened at `revision` that calls for a look that saw it. */
  changed(revision: bigint): void {
    if (revision <= this.#changedAt) return;
    this.#changedAt = revision;
    if (this.needsLook) this.#onChange();
  }

  /** Watches what the last look found in the way. */
  watch(): void {
    if (this.#obstacle === undefined) return;
    const request = this.#watchFor(this.#obstacle);
    if (request.key === this.#watched?.key) return;
    this.stop();
    const stop = this.#context.store.watch(request, {
      created: (revision) => {
        this.changed(revision);
      },
      events: (events) => {
        for (const event of events) this.#happened(event);
      },
    });
    this.#watched = { key: request.key, stop };
  }

  #watchFor({ keys: [key, ...others] }: Obstacle): WatchRequest {
    const isOne = key !== undefined && others.length === 0 && isExact(key);
    return isOne ? { key, deletesOnly: true } : { ...this.#queue, deletesOnly: true };
  }

  stop(): void {
    this.#watched?.stop();
    this.#watched = undefined;
  }

  /** Servers have lost deletions (etcd #17529, #18089, #19179), so a waiter looks now and then without being told to. */
  tick(now: Instant): void {
    if (this.#isAdmitted || this.#slowLookAt === undefined || msUntil(this.#slowLookAt, now) > 0) return;
    this.#slowLookAt = undefined;
    this.#isDue = true;
    this.#onChange();
  }

  #happened({ type, kv }: WatchEvent): void {
    if (type !== 'delete' || kv.modRevision <= this.#lookedAt) return;
    if (this.#obstacle === undefined || this.#remaining === undefined) return;
    const { keys, enough } = this.#obstacle;
    this.#remaining.delete(kv.key);
    // While a look is under way nobody knows yet which keys it will find.
    if (this.#isLooking || keys.length - this.#remaining.size >= enough) this.changed(kv.modRevision);
  }
}
