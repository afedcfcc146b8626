/**
 * Notices that others queue up behind a held entry, and that the entry itself is deleted.
 *
 * It watches the whole queue from now on. The watch alone reports what comes later, so one look finds what came before:
 * - after each `created`, unless it is the first one and has the revision of the entry's creation: then nothing came in between;
 * - at the entry and at what is behind it. The look that admitted the entry has read only what is before it.
 * An event counts if it is later than the last of these looks, or than the entry if there was none.
 *
 * A contender is an entry that has to wait for this one. Behind an exclusive entry that is every other entry. Readers are no
 * contenders of a reader, and a semaphore has some once its slots are taken. A `tryLock()` of a busy name creates no entry.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant } from '../clock.ts';
import type { Context } from '../context.ts';
import type { LossReason } from '../errors.ts';
import { type QueueRange, slotsOf } from '../keys.ts';
import { exclusive, shared } from '../kind.ts';
import type { Session } from '../session/session.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';
import { splitQueue } from './admission.ts';
import { buildLookBehind } from './transactions.ts';

/** The part of a held entry that its contender watch uses. */
export interface ContendedEntry {
  readonly key: string;
  readonly queue: QueueRange;
  readonly slots: number;
  readonly token: bigint;
  readonly session: Pick<Session, 'checkOpen' | 'pause'>;
  lose(reason: LossReason): void;
}

interface ContenderListener {
  /** `isWanted`, `isConfirmed` or `unconfirmedSince` has changed. */
  onChange(): void;
}

export class ContenderWatch {
  readonly #context: Context;
  readonly #entry: ContendedEntry;
  readonly #listeners = new Set<ContenderListener>();
  #isWanted = false;
  #unconfirmedSince: Instant | undefined;
  /** Whether the watch reports events. */
  #isWatched = false;
  #wasWatched = false;
  #isLookDue = false;
  #isLooking = false;
  /** The revision of the last look behind the entry. */
  #lookedAt: bigint | undefined;
  /** The events since a look became due. They may be later than that look. */
  #earlyEvents: WatchEvent[] = [];
  /** The entries of a semaphore. Undefined for other kinds, and before the first look. */
  #ofKind: Set<string> | undefined;
  #stopWatch: (() => void) | undefined;
  #isStopped = false;

  constructor(context: Context, entry: ContendedEntry, listener?: ContenderListener) {
    this.#context = context;
    this.#entry = entry;
    if (listener !== undefined) this.listen(listener);
    this.#unconfirmedSince = context.clock.now();
  }

  /** Whether a contender was seen. It stays true if that contender leaves. */
  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Whether the watch reports events, and everything before them was looked at. */
  get isConfirmed(): boolean {
    return this.#unconfirmedSince === undefined;
  }

  /** Since when it has not been confirmed. Undefined while it is. */
  get unconfirmedSince(): Instant | undefined {
    return this.#unconfirmedSince;
  }

  /** Adds a listener. Returns a function that removes it. */
  listen(listener: ContenderListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  start(): void {
    if (this.#isStopped || this.#stopWatch !== undefined) return;
    const { key, rangeEnd } = this.#entry.queue;
    // Not in the background: only a ping shows that the connection is silent, and then nobody would notice a contender.
    this.#stopWatch = this.#context.store.watch(
      { key, rangeEnd },
      {
        created: (revision) => {
          this.#onCreated(revision);
        },
        broken: (quietMs) => {
          this.#isWatched = false;
          this.#markUnconfirmed(quietMs);
        },
        events: (events) => {
          this.#onEvents(events);
        },
      },
    );
  }

  /** Ends the watch for good. Nothing changes afterwards. */
  stop(): void {
    this.#isStopped = true;
    this.#stopWatch?.();
    this.#earlyEvents = [];
  }

  get #knownRevision(): bigint {
    return this.#lookedAt ?? this.#entry.token;
  }

  #onCreated(revision: bigint): void {
    const isFirst = !this.#wasWatched;
    this.#wasWatched = true;
    this.#isWatched = true;
    // Those from before a break may be from before a restore of etcd.
    this.#earlyEvents = [];
    if (isFirst && revision === this.#entry.token && !this.#countsSlots) {
      this.#confirm();
      return;
    }
    // A revision below a known one proves nothing: a proxy may send 0, and a restored etcd has gone back.
    this.#isLookDue = true;
    this.#markUnconfirmed(0);
    if (!this.#isLooking) void this.#look();
  }

  get #countsSlots(): boolean {
    return this.#entry.slots !== exclusive && this.#entry.slots !== shared;
  }

  /** Looks until no look is due. */
  async #look(): Promise<void> {
    const { store } = this.#context;
    const { session } = this.#entry;
    this.#isLooking = true;
    for (let failures = 0; this.#isLookDue && !this.#isStopped && session.checkOpen();) {
      this.#isLookDue = false;
      try {
        const { revision, ranges } = await store.commit(buildLookBehind(this.#entry));
        failures = 0;
        this.#onLook(revision, ranges.flat());
      } catch {
        this.#isLookDue = true;
        await session.pause(backoffMs(failures++));
      }
    }
    this.#isLooking = false;
    if (this.#isWatched && !this.#isLookDue) this.#confirm();
  }

  #onLook(revision: bigint, found: readonly KeyValue[]): void {
    if (this.#isStopped) return;
    const { key, queue, slots, token } = this.#entry;
    if (!found.some((kv) => kv.key === key && kv.createRevision === token)) {
      this.#loseEntry();
      return;
    }
    this.#lookedAt = revision;
    const isContender = (kv: KeyValue): boolean => kv.key !== key && kv.createRevision > token;
    const isWanted = slots === exclusive ? found.some(isContender) : splitQueue(queue, found).waiters.length > 0;
    if (this.#countsSlots) this.#ofKind = new Set(found.map((kv) => kv.key).filter((one) => this.#isOfKind(one)));
    if (isWanted) this.#markWanted();
    this.#apply(this.#earlyEvents);
  }

  #onEvents(events: readonly WatchEvent[]): void {
    const { key, token } = this.#entry;
    // First of all: a steal deletes the entry in the same revision in which it creates its own.
    const isGone = ({ type, kv }: WatchEvent): boolean => (type === 'delete' ? kv.modRevision : kv.createRevision) > token;
    if (events.some((event) => event.kv.key === key && isGone(event))) {
      this.#loseEntry();
      return;
    }
    if (this.#isLookDue || this.#isLooking) this.#earlyEvents.push(...events);
    this.#apply(events);
  }

  #apply(events: readonly WatchEvent[]): void {
    const { key, slots, token } = this.#entry;
    for (const { type, kv } of events) {
      if (kv.key === key || kv.modRevision <= this.#knownRevision) continue;
      const isOfKind = this.#isOfKind(kv.key);
      // A new value of an entry that is before this one is no contender.
      if (type === 'put' && kv.createRevision > token && (slots === exclusive || !isOfKind)) this.#markWanted();
      if (!isOfKind) continue;
      if (type === 'put') this.#ofKind?.add(kv.key);
      else this.#ofKind?.delete(kv.key);
    }
    // In the end: a hand-over deletes one entry and creates another in one revision.
    if (this.#ofKind !== undefined && this.#ofKind.size > slots) this.#markWanted();
  }

  #isOfKind(key: string): boolean {
    return slotsOf(this.#entry.queue, key) === this.#entry.slots;
  }

  #markWanted(): void {
    if (this.#isWanted || this.#isStopped) return;
    this.#isWanted = true;
    this.#notify();
  }

  #confirm(): void {
    this.#earlyEvents = [];
    if (this.#unconfirmedSince === undefined || this.#isStopped) return;
    this.#unconfirmedSince = undefined;
    this.#notify();
  }

  #markUnconfirmed(quietMs: number): void {
    if (this.#unconfirmedSince !== undefined) return;
    this.#unconfirmedSince = addMs(this.#context.clock.now(), -quietMs);
    this.#notify();
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener.onChange();
  }

  #loseEntry(): void {
    this.stop();
    this.#entry.lose('deleted');
  }
}
