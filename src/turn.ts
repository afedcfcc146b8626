/**
 * What an entry knows of its turn: what the last look saw, and what has happened since that calls for another.
 *
 * A waiter watches the entry just before its own, from now on, and looks again at that one's deletion or where the watch came to
 * stand only after its look. A start revision in the past would make etcd deliver in steps of 100 ms.
 */
import { addMs, type Instant, msUntil } from './clock.ts';
import { isExact, type QueueRange } from './keys.ts';
import type { Context, Session } from './session.ts';
import type { KeyValue } from './store/store.ts';

export class Turn {
  readonly #context: Context;
  readonly #queue: QueueRange;
  readonly #session: Session;
  readonly #onChange: () => void;
  #isAdmitted = false;
  #lookedAt = 0n;
  #changedAt = 1n;
  #changedBeforeLook = 0n;
  #isDue = false;
  #slowLookAt: Instant | undefined;
  #predecessor: string | undefined;
  #watched: { readonly key: string; readonly stop: () => void } | undefined;

  constructor(context: Context, queue: QueueRange, session: Session, onChange: () => void) {
    this.#context = context;
    this.#queue = queue;
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
    // Whatever becomes of this one, there will be another.
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#session.ttlMs / 3);
  }

  /** Takes in a look at `revision`: who is just before the entry, if there is anybody. */
  looked(revision: bigint, predecessor: KeyValue | undefined): void {
    this.#lookedAt = revision;
    this.#isDue = false;
    // Not by the revisions alone: they go back where etcd was restored from a snapshot.
    if (this.#changedAt === this.#changedBeforeLook) this.#changedAt = 0n;
    this.#isAdmitted = predecessor === undefined;
    this.#predecessor = predecessor?.key;
    this.#slowLookAt = addMs(this.#context.clock.now(), this.#session.ttlMs / 3);
  }

  /** What was seen does not count any more: not admitted until the next look. */
  forget(): void {
    this.#isAdmitted = false;
    this.#isDue = true;
  }

  /** Watches the predecessor of the last look. */
  await(): void {
    const key = this.#predecessor;
    if (key === undefined || key === this.#watched?.key) return;
    this.stop();
    const stop = this.#context.store.watch(
      { ...(isExact(key) ? { key } : this.#queue), deletesOnly: true },
      {
        created: (revision) => {
          this.#changed(revision);
        },
        events: (events) => {
          for (const { type, kv } of events) if (type === 'delete') this.#changed(kv.modRevision);
        },
      },
    );
    this.#watched = { key, stop };
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

  #changed(revision: bigint): void {
    if (revision <= this.#changedAt) return;
    this.#changedAt = revision;
    if (this.needsLook) this.#onChange();
  }
}
