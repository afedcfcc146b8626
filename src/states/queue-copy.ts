/**
 * A copy of one name's queue that follows etcd.
 *
 * The queue is read while the watch is being created. Events up to the revision of that read are in it already, later ones are applied to
 * it. If the watch starts only after that revision, the queue is read again, so no change is missed. The same happens after each break of
 * the watch. No request asks for a past revision, so compaction does no harm (docs/decisions/005-watch-from-now.md).
 */
import { backoffMs } from '../backoff.ts';
import type { Context } from '../context.ts';
import { isExact, queueRange, type QueueRange } from '../keys.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';
import { quote } from '../text.ts';
import { readWhole } from './pages.ts';
import { describeQueue, type LockState, toLockState } from './state.ts';

export interface QueueListener {
  /** Called after each read of the queue, and after events of whole revisions. */
  changed(state: LockState): void;
  /** Called if a read fails before the first state. Later reads are retried until the copy is closed. */
  failed(error: unknown): void;
}

export class QueueCopy {
  readonly #context: Context;
  readonly #name: string;
  readonly #range: QueueRange;
  readonly #listener: QueueListener;
  readonly #entries = new Map<string, KeyValue>();
  /** The copy is the queue of this revision. */
  #revision = 0n;
  /** The watch reports all events after this revision. */
  #watchedSince = 0n;
  #isWatched = false;
  /** Events that arrived during a read. */
  #earlyEvents: WatchEvent[] = [];
  /** True once the listener has a state. */
  #hasState = false;
  #isReading = false;
  /** True if the watch was created, or created again, during a read. */
  #isReadStale = false;
  #isClosed = false;
  #stopWatch: () => void = () => undefined;
  #endPause: () => void = () => undefined;

  constructor(context: Context, name: string, listener: QueueListener) {
    this.#context = context;
    this.#name = name;
    this.#range = queueRange(context.prefix, name);
    this.#listener = listener;
  }

  open(): void {
    this.#stopWatch = this.#context.store.watch(this.#range, {
      created: (revision) => {
        const isFirst = !this.#isWatched;
        this.#isWatched = true;
        this.#watchedSince = revision;
        // The watch reports them again if they are later. Those from before a restore never happened.
        this.#earlyEvents = [];
        // A later creation follows a break. Changes may have been missed, and a restored etcd may even be at an earlier revision.
        // A first creation below the revision that was read proves nothing, as one at 0, which proxies send.
        if (!isFirst || revision === 0n || revision !== this.#revision) void this.#read();
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
    this.#endPause();
  }

  async #read(): Promise<void> {
    this.#isReadStale = this.#isReading;
    if (this.#isReading) return;
    this.#isReading = true;
    for (let retry = 0; !this.#isClosed; retry += 1) {
      this.#isReadStale = false;
      try {
        const { revision, kvs } = await readWhole(this.#context.store, this.#range);
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
    this.#entries.clear();
    for (const kv of entries) this.#entries.set(identify(kv), kv);
    this.#revision = revision;
    this.#apply(this.#earlyEvents.splice(0));
  }

  async #onReadFailure(error: unknown, retry: number): Promise<void> {
    if (this.#isClosed) return;
    if (!this.#hasState) {
      this.#listener.failed(error);
      return;
    }
    this.#context.outageLog.warn(`still watching lock ${quote(this.#name)}: ${String(error)}`);
    await this.#pause(backoffMs(retry));
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#context.clock.setTimer(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }

  #apply(events: readonly WatchEvent[]): void {
    const news = events.filter(({ kv }) => kv.modRevision > this.#revision);
    if (news.some(({ type, kv }) => type === 'delete' && !isExact(kv.key))) {
      // Several keys may have this text, and the event does not say which of them was deleted.
      void this.#read();
      return;
    }
    for (const { type, kv } of news) {
      if (type === 'delete') this.#entries.delete(kv.key);
      else this.#entries.set(identify(kv), kv);
    }
    // Only applied events count. A response of a lagging watch has etcd's newest revision long before the events up to it.
    for (const { kv } of news) if (kv.modRevision > this.#revision) this.#revision = kv.modRevision;
    this.#hasState = true;
    this.#listener.changed(toLockState(describeQueue(this.#name, this.#range, this.#entries.values(), this.#revision)));
  }
}

/** Keys that are not UTF-8 may have the same text. */
const identify = ({ key, createRevision }: KeyValue): string => (isExact(key) ? key : `${key} ${String(createRevision)}`);
