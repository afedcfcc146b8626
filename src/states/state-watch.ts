/**
 * A name's state, once and as it goes on.
 *
 * The queue is read beside the setting up of the watch, and again where the watch turns out to stand only from a later revision,
 * so no change can fall between the two: events up to the revision read are in it already, later ones are applied. After a break
 * the same again. Nothing is ever asked for from a past revision.
 */
import { onAbort } from '../abort.ts';
import { deferred } from '../deferred.ts';
import { isExact, queueRange, type QueueRange } from '../keys.ts';
import type { Context } from '../context.ts';
import { quote } from '../text.ts';
import type { KeyValue, WatchEvent } from '../store/store.ts';
import { describe, type LockState } from './state.ts';

/** Keys that are no UTF-8 may look the same. */
const idOf = ({ key, createRevision }: KeyValue): string => (isExact(key) ? key : `${key} ${String(createRevision)}`);

/** The states of one name as an iterator that never holds more than the newest of them. */
export class StateWatch implements AsyncIterableIterator<LockState> {
  readonly #context: Context;
  readonly #name: string;
  readonly #range: QueueRange;
  readonly #cleanUp: (() => void)[] = [];
  readonly #queue = new Map<string, KeyValue>();
  #revision = 0n;
  /** Events that came while the queue was being read. */
  #early: WatchEvent[] = [];
  #isStarted = false;
  #isReading = false;
  /** A watch was created after the read that is under way was sent. */
  #isReadStale = false;
  /** The revision from which on the watch stands. */
  #createdAt = 0n;
  #endPause: () => void = () => undefined;
  #newest: LockState | undefined;
  #yielded: LockState | undefined;
  #next: ReturnType<typeof deferred<IteratorResult<LockState>>>[] = [];
  #end: { readonly error?: unknown } | undefined;

  constructor(context: Context, name: string, signal: AbortSignal | undefined) {
    this.#context = context;
    this.#name = name;
    this.#range = queueRange(context.prefix, name);
    if (signal?.aborted === true) {
      this.#end = {};
    } else if (signal !== undefined) {
      const abort = (): void => {
        this.end();
      };
      this.#cleanUp.push(onAbort(signal, abort));
    }
  }

  // Not before somebody asks for a state: a loop that is never begun is never left either.
  #start(): void {
    const { clock, store } = this.#context;
    this.#isStarted = true;
    this.#cleanUp.push(clock.hold());
    const stop = store.watch(this.#range, {
      created: (revision) => {
        const isFirst = this.#createdAt === 0n;
        this.#createdAt = revision;
        // A later one follows a break, in which anything may have happened: even the revisions may have gone back.
        if (!isFirst || revision > this.#revision) void this.#read();
      },
      events: (events) => {
        if (this.#isReading) this.#early.push(...events);
        else this.#apply(events);
      },
    });
    this.#cleanUp.push(stop);
    void this.#read();
  }

  next(): Promise<IteratorResult<LockState>> {
    const waiting = deferred<IteratorResult<LockState>>();
    this.#next.push(waiting);
    if (!this.#isStarted && this.#end === undefined) this.#start();
    this.#flush();
    return waiting.promise;
  }

  return(): Promise<IteratorResult<LockState>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Calls `callback` when it ends, or at once where it has. */
  onEnd(callback: () => void): void {
    if (this.#end === undefined) this.#cleanUp.push(callback);
    else callback();
  }

  /** Ends the loop over it, by an error if there is one. */
  end(error?: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = error === undefined ? {} : { error };
    for (const cleanUp of this.#cleanUp.splice(0)) cleanUp();
    this.#endPause();
    this.#flush();
  }

  async #read(): Promise<void> {
    this.#isReadStale = this.#isReading;
    if (this.#isReading) return;
    this.#isReading = true;
    for (let failures = 0; this.#end === undefined; failures += 1) {
      this.#isReadStale = false;
      try {
        const { revision, ranges } = await this.#context.store.commit({ compare: [], then: [{ range: this.#range }], otherwise: [] });
        if (this.#mayMiss(revision)) continue;
        this.#isReading = false;
        this.#queue.clear();
        for (const kv of ranges[0] ?? []) this.#queue.set(idOf(kv), kv);
        this.#revision = revision;
        this.#apply(this.#early.splice(0));
        return;
      } catch (error) {
        // An outage is what a watch is there to outlive; but one that never saw etcd tells why.
        if (this.#newest === undefined) {
          this.end(error);
        } else {
          this.#context.logger.warn(`etcd-locker: the watch of ${quote(this.#name)} tries again: ${String(error)}`);
          await this.#pause(Math.min(50 * 2 ** failures, 1_000));
        }
      }
    }
  }

  /** Whether the watch that was created while a read was under way stands only from a later revision than that read's. */
  #mayMiss(revision: bigint): boolean {
    return this.#isReadStale && revision < this.#createdAt;
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
      // Several keys look like this one, and which of them is gone is not told.
      void this.#read();
      return;
    }
    for (const { type, kv } of news) {
      if (type === 'delete') this.#queue.delete(kv.key);
      else this.#queue.set(idOf(kv), kv);
    }
    // By what was applied alone: the answers to a watch that lags behind bear etcd's newest revision long before its events.
    for (const { kv } of events) if (kv.modRevision > this.#revision) this.#revision = kv.modRevision;
    const { name, held, holders, waiting } = describe(this.#name, this.#range, this.#queue.values(), this.#revision);
    this.#newest = { name, held, holders, waiting, revision: this.#revision };
    this.#flush();
  }

  #flush(): void {
    const state = this.#newest;
    if (this.#end === undefined) {
      if (state === undefined || (this.#yielded !== undefined && isSame(this.#yielded, state))) return;
      const waiting = this.#next.shift();
      if (waiting === undefined) return;
      this.#yielded = state;
      waiting.resolve({ done: false, value: state });
      return;
    }
    for (const waiting of this.#next.splice(0)) {
      const { error } = this.#end;
      this.#end = {};
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
  }
}

const isSame = (a: LockState, b: LockState): boolean =>
  a.holders.length === b.holders.length &&
  a.holders.every((holder, index) => {
    const other = b.holders[index];
    return other?.fencingToken === holder.fencingToken && other.key === holder.key && other.value === holder.value;
  });
