/** The state of a name: its holders and waiters at one revision of etcd. */
import type { Context } from '../context.ts';
import { splitQueue } from '../entry/admission.ts';
import { headOf, isOurs, queueRange, type QueueRange, slotsOf } from '../keys.ts';
import { type Mode, modeOf } from '../kind.ts';
import type { KeyValue } from '../store/store.ts';

/** One entry of a name's queue. */
export interface Contender {
  readonly key: string;
  readonly mode: Mode;
  /** How many of its kind may hold together: 1 where it is exclusive, Infinity where it is shared. */
  readonly slots: number;
  readonly value: string;
  readonly fencingToken: bigint;
  /** Decimal int64; '0' where the key has no lease. */
  readonly leaseId: string;
  /** Whether something other than this library made it, such as `etcdctl lock`. */
  readonly foreign: boolean;
}

/** Who holds a name at `revision`. */
export interface LockState {
  readonly name: string;
  readonly held: boolean;
  readonly holders: readonly Contender[];
  /** How many wait. */
  readonly waiting: number;
  readonly revision: bigint;
}

export interface LockDetails extends LockState {
  /** In the order in which they will get it. */
  readonly waiters: readonly Contender[];
}

/** The value of who holds a name. */
export async function readHolder({ store, prefix }: Context, name: string): Promise<string | undefined> {
  const head = { ...headOf(queueRange(prefix, name)), keysOnly: false };
  const { ranges } = await store.commit({ compare: [], then: [{ range: head }], otherwise: [] });
  return ranges[0]?.[0]?.value;
}

/** @throws {EtcdUnavailableError} nobody answered in time */
export async function inspectName({ store, prefix }: Context, name: string): Promise<LockDetails> {
  const range = queueRange(prefix, name);
  const { revision, ranges } = await store.commit({ compare: [], then: [{ range: { ...range, order: 'oldest' } }], otherwise: [] });
  return describe(name, range, ranges[0] ?? [], revision);
}

export function describe(name: string, range: QueueRange, entries: Iterable<KeyValue>, revision: bigint): LockDetails {
  const { holders, waiters } = splitQueue(range, entries);
  const toContenders = (kvs: readonly KeyValue[]): Contender[] => kvs.map((kv) => toContender(range, kv));
  return {
    name,
    held: holders.length > 0,
    holders: toContenders(holders),
    waiting: waiters.length,
    waiters: toContenders(waiters),
    revision,
  };
}

function toContender(range: QueueRange, { key, value, createRevision, leaseId }: KeyValue): Contender {
  const slots = slotsOf(range, key);
  return { key, mode: modeOf(slots), slots, value, fencingToken: createRevision, leaseId, foreign: !isOurs(range, key) };
}
