/**
 * The state of a name: its holders and waiters at one revision of etcd.
 *
 * This folder reads states and never changes them. Read this file first, then pages.ts (how ranges are read), lease-times.ts (how long
 * leases last), inspect.ts (one name for the user), list.ts (the states of all names), queue-copy.ts (a copy of queues that follows
 * etcd), freshness.ts (whether that copy may be old), unread-states.ts (what a slow reader gets) and state-watch.ts (the iterator of
 * `watch()` on such a copy).
 */
import type { Context } from '../context.ts';
import { splitQueue } from '../entry/admission.ts';
import { headOf, isOurs, queueRange, type QueueRange, slotsOf } from '../keys.ts';
import { withJson } from '../json.ts';
import { type Mode, modeOf } from '../kind.ts';
import type { KeyValue, Operation } from '../store/store.ts';
import { readWhole } from './pages.ts';

/** An entry of a name's queue. */
export interface Contender {
  readonly key: string;
  /** 'exclusive' if this entry holds alone, 'shared' if several entries may hold together. */
  readonly mode: Mode;
  /** The number of entries that may hold together: 1 if exclusive, Infinity if shared, n for a semaphore. */
  readonly slots: number;
  readonly value: string;
  readonly fencingToken: bigint;
  /** The lease of the entry as a decimal int64. '0' if the entry has no lease. */
  readonly leaseId: string;
  /**
   * In `inspect` and `list`, the milliseconds until the lease ends unless it is renewed, in whole seconds rounded down. Null if the entry
   * has no lease, if the role may not read it, if the store cannot tell, and in `watch` and `breakLock`.
   */
  readonly leaseRemainingMs: number | null;
  /** True if another program made the entry, such as `etcdctl lock`. */
  readonly foreign: boolean;
}

/** The holders of a name at `revision`. */
export interface LockState {
  readonly name: string;
  readonly held: boolean;
  /** The holders, oldest entry first. Empty if the name is free. */
  readonly holders: readonly Contender[];
  /** The number of waiters. */
  readonly waiting: number;
  /** The revision of etcd at which this was the state. */
  readonly revision: bigint;
  /**
   * False if the state may be old, because etcd has been silent for `requestTimeoutMs`. `watch` reports the state again when this
   * changes. Always true in `inspect` and `list`.
   */
  readonly current: boolean;
}

/** The holders and waiters of a name at `revision`. */
export interface LockDetails extends LockState {
  /** The waiters, in the order in which they will get the lock. */
  readonly waiters: readonly Contender[];
  /**
   * The callers of this process that wait without an entry of their own, behind a lock or an entry of this process. `waiting` does not
   * count them. Other processes have such callers too, and only they can count them.
   */
  readonly localWaiting: number;
}

/** The iterator of `list` and `watch`. It ends at `break`, at `return()` and at the end of an `await using` block. */
export interface LockStateIterator extends AsyncIterableIterator<LockState>, AsyncDisposable {
  /** Ends the iteration. */
  return(): Promise<IteratorResult<LockState>>;
  /** Ends the iteration, and rejects with `error`. */
  throw(error?: unknown): Promise<IteratorResult<LockState>>;
  /** Returns the iterator itself. */
  [Symbol.asyncIterator](): this;
}

/** The oldest holder of a name, and the slots of the first entries of its queue, oldest first. */
export interface Head {
  readonly value: string;
  readonly slots: number;
  readonly queuedSlots: readonly number[];
}

/** A read of the head takes the keys of so many entries: enough to find callers that do not agree on the slots. */
const headSize = 32;

/** Reads the head of a name's queue. Undefined if the name is free. */
export async function readHead({ store, prefix }: Context, name: string): Promise<Head | undefined> {
  const range = queueRange(prefix, name);
  const oldest: Operation = { range: { ...headOf(range), keysOnly: false } };
  const first: Operation = { range: { ...headOf(range), limit: headSize } };
  const { ranges } = await store.commit({ compare: [], then: [oldest, first], otherwise: [] });
  const [[holder] = [], entries = []] = ranges;
  if (holder === undefined) return undefined;
  return { value: holder.value, slots: slotsOf(range, holder.key), queuedSlots: entries.map(({ key }) => slotsOf(range, key)) };
}

/** @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs` */
export async function inspectName({ store, prefix }: Context, name: string): Promise<LockDetails> {
  const range = queueRange(prefix, name);
  const { revision, kvs } = await readWhole(store, range);
  return describeQueue(name, range, kvs, revision);
}

/** Returns the state of a queue with these entries, given in any order. */
export function describeQueue(name: string, range: QueueRange, entries: Iterable<KeyValue>, revision: bigint): LockDetails {
  const { holders, waiters } = splitQueue(range, entries);
  const toContenders = (kvs: readonly KeyValue[]): Contender[] => kvs.map((kv) => toContender(range, kv));
  return withJson({
    name,
    held: holders.length > 0,
    holders: toContenders(holders),
    waiting: waiters.length,
    waiters: toContenders(waiters),
    localWaiting: 0,
    revision,
    current: true,
  });
}

function toContender(range: QueueRange, { key, value, createRevision, leaseId }: KeyValue): Contender {
  const slots = slotsOf(range, key);
  return withJson({
    key,
    mode: modeOf(slots),
    slots,
    value,
    fencingToken: createRevision,
    leaseId,
    leaseRemainingMs: null,
    foreign: !isOurs(range, key),
  });
}

/** Leaves out the waiters, which `list()` and `watch()` do not report. */
export const toLockState = ({ name, held, holders, waiting, revision, current }: LockDetails): LockState =>
  withJson({ name, held, holders, waiting, revision, current });
