/**
 * A copy of the queues of one name, or of all names with a prefix, that follows etcd.
 *
 * The queues are read while the watch is being created. Events up to the revision of that read are in it already, later ones are applied
 * to it. If the watch starts only after that revision, the queues are read again, so no change is missed. The same happens after each
 * break of the watch. No request asks for a past revision, so compaction does no harm (docs/decisions/005-watch-from-now.md).
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { EtcdRefusedError, EtcdUnavailableError, isFinal } from '../errors.ts';
import { isExact, nameOf, namesRange, queueRange, type QueueRange } from '../keys.ts';
import { Pauses } from '../pauses.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';
import { quote } from '../text.ts';
import { Freshness } from './freshness.ts';
import { readWhole } from './pages.ts';
import { describeQueue, type LockState, toLockState } from './state.ts';

/** The queues that a copy follows. */
export interface CopyTarget {
  /** What the log calls it. */
  readonly subject: string;
  readonly range: QueueRange;
  /** The name whose state is reported even if it was free all the time. Undefined for a copy of all names. */
  readonly name: string | undefined;
  /** Returns the name of a key in `range`. Undefined for a key that is in no queue. */
  nameOf(key: string): string | undefined;
}

export const oneName = (prefix: string, name: string): CopyTarget => ({
  subject: `lock ${quote(name)}`,
  range: queueRange(prefix, name),
  name,
  nameOf: () => name,
});

export const allNames = (prefix: string, startsWith: string): CopyTarget => ({
  subject: startsWith === '' ? 'all locks' : `all locks that begin with ${quote(startsWith)}`,
  range: namesRange(prefix, startsWith),
  name: undefined,
  nameOf: (key) => nameOf(prefix, key),
});

export interface CopyListener {
  /** Called with all states after each read, with the changed ones after events of whole revisions, and when `current` changes. */
  changed(states: readonly LockState[]): void;
  /** Called if a read fails before the first state, and no retry can help or none is wanted. */
  failed(error: unknown): void;
}

export class QueueCopy {
  readonly #context: Context;
  readonly #target: CopyTarget;
  readonly #failFast: boolean;
  readonly #listener: CopyListener;
  readonly #pauses: Pauses;
  readonly #freshness: Freshness;
  /** The entries of each name. */
  #queues = new Map<string, Map<string, KeyValue>>();
  /** The names that may have changed since the last report. */
  readonly #touched = new Set<string>();
  /** The copy is that of this revision. */
  #revision = 0n;
  /** The watch reports all events after this revision. At 0 a read that was sent before proves nothing. */
  #watchedSince = 0n;
  #wasWatched = false;
  #isWatched = false;
  /** Events that arrived during a read. */
  #earlyEvents: WatchEvent[] = [];
  /** True once the listener has a state. */
  #hasState = false;
  #isReading = false;
  /** When the last read was sent. */
  #readAt: Instant | undefined;
  /** True if the watch was created, or created again, during a read. */
  #isReadStale = false;
  #isClosed = false;
  #stopWatch: () => void = () => undefined;

  constructor(context: Context, target: CopyTarget, failFast: boolean, listener: CopyListener) {
    this.#context = context;
    this.#target = target;
    this.#failFast = failFast;
    this.#listener = listener;
    this.#pauses = new Pauses(context.clock);
    this.#freshness = new Freshness(context.clock, context.requestTimeoutMs, () => {
      this.#reportAll();
    });
  }

  open(): void {
    this.#freshness.onBreak(0);
    this.#stopWatch = this.#context.store.watch(this.#target.range, {
      created: (revision) => {
        this.#onCreated(revision);
      },
      broken: (quietMs) => {
        this.#isWatched = false;
        this.#freshness.onBreak(quietMs);
      },
      events: (events) => {
        if (this.#isReading) this.#earlyEvents.push(...events);
        else this.#apply(events);
      },
    });
    void this.#read();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWatch();
    this.#pauses.end();
    this.#freshness.stop();
  }

  #onCreated(revision: bigint): void {
    const isFirst = !this.#wasWatched;
    this.#wasWatched = true;
    this.#isWatched = true;
    // A read that was sent before a break, or long ago, may even be from before a restore.
    this.#watchedSince = isFirst && !this.#isReadOld ? revision : 0n;
    // The watch reports them again if they are later. Those from before a restore never happened.
    this.#earlyEvents = [];
    // A later creation follows a break. Changes may have been missed, and a restored etcd may even be at an earlier revision.
    // A first creation below the revision that was read proves nothing, as one at 0, which proxies send.
    if (!isFirst || revision === 0n || revision !== this.#revision || this.#isReadOld) void this.#read();
    else if (!this.#freshness.onUpToDate()) this.#reportAll();
  }

  /** Whether etcd may have been restored since the last read, and may have come to the same revision again. */
  get #isReadOld(): boolean {
    const { clock, requestTimeoutMs } = this.#context;
    return this.#readAt === undefined || msUntil(addMs(this.#readAt, requestTimeoutMs), clock.now()) <= 0;
  }

  async #read(): Promise<void> {
    this.#isReadStale = this.#isReading;
    if (this.#isReading) return;
    this.#isReading = true;
    for (let retry = 0; !this.#isClosed; retry += 1) {
      this.#isReadStale = false;
      this.#readAt = this.#context.clock.now();
      try {
        const { revision, kvs } = await readWhole(this.#context.store, this.#target.range);
        if (this.#mayMissChanges(revision)) continue;
        this.#isReading = false;
        this.#replace(revision, kvs);
        return;
      } catch (error) {
        await this.#onReadFailure(error, retry);
      }
    }
  }

  /** True if the watch was created during the read, and starts after the revision of that read, or at an unknown one. */
  #mayMissChanges(revision: bigint): boolean {
    return this.#isReadStale && (this.#watchedSince === 0n || revision < this.#watchedSince);
  }

  #replace(revision: bigint, entries: readonly KeyValue[]): void {
    if (this.#isClosed) return;
    this.#touchAll();
    this.#queues = new Map();
    for (const kv of entries) this.#put(kv);
    this.#revision = revision;
    this.#freshness.onUpToDate();
    // Without a watch the copy stays current only for a while.
    if (!this.#isWatched) this.#freshness.onBreak(0);
    this.#apply(this.#earlyEvents.splice(0));
  }

  async #onReadFailure(error: unknown, retry: number): Promise<void> {
    if (this.#isClosed) return;
    if (!this.#hasState && (this.#failFast || !mayPass(error))) {
      this.#listener.failed(error);
      return;
    }
    this.#context.outageLog.warn(`still watching ${this.#target.subject}: ${String(error)}`);
    await this.#pauses.wait(backoffMs(retry));
  }

  #apply(events: readonly WatchEvent[]): void {
    const news = events.filter(({ kv }) => kv.modRevision > this.#revision);
    if (news.some(({ type, kv }) => type === 'delete' && !isExact(kv.key))) {
      // Several keys may have this text, and the event does not say which of them was deleted.
      void this.#read();
      return;
    }
    for (const { type, kv } of news) {
      if (type === 'delete') this.#delete(kv.key);
      else this.#put(kv);
    }
    // Only applied events count. A response of a lagging watch has etcd's newest revision long before the events up to it.
    for (const { kv } of news) if (kv.modRevision > this.#revision) this.#revision = kv.modRevision;
    this.#hasState = true;
    this.#report();
  }

  #put(kv: KeyValue): void {
    const name = this.#target.nameOf(kv.key);
    if (name === undefined) return;
    const entries = this.#queues.get(name) ?? new Map<string, KeyValue>();
    this.#queues.set(name, entries.set(identify(kv), kv));
    this.#touched.add(name);
  }

  #delete(key: string): void {
    const name = this.#target.nameOf(key);
    const entries = name === undefined ? undefined : this.#queues.get(name);
    if (name === undefined || entries?.delete(key) !== true) return;
    if (entries.size === 0) this.#queues.delete(name);
    this.#touched.add(name);
  }

  #touchAll(): void {
    if (this.#target.name !== undefined) this.#touched.add(this.#target.name);
    for (const name of this.#queues.keys()) this.#touched.add(name);
  }

  #reportAll(): void {
    if (!this.#hasState) return;
    this.#touchAll();
    this.#report();
  }

  #report(): void {
    const { prefix } = this.#context;
    const current = this.#freshness.isCurrent;
    const states = Array.from(this.#touched, (name) => {
      const entries = this.#queues.get(name)?.values() ?? [];
      return toLockState({ ...describeQueue(name, queueRange(prefix, name), entries, this.#revision), current });
    });
    this.#touched.clear();
    if (states.length > 0) this.#listener.changed(states);
  }
}

/** Keys that are not UTF-8 may have the same text. */
const identify = ({ key, createRevision }: KeyValue): string => (isExact(key) ? key : `${key} ${String(createRevision)}`);

/** Whether a retry may help. An error of no known kind is one of the store itself. */
const mayPass = (error: unknown): boolean =>
  (error instanceof EtcdUnavailableError || error instanceof EtcdRefusedError) && !isFinal(error);
