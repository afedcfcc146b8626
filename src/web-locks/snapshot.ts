/**
 * "Snapshot the lock state" of the specification: the holders and waiters of all names and machines, at one revision of etcd.
 *
 * The gates are read together with the entries, and map each lease to its client. The lease of an entry is in its key: etcd 3.7 leaves
 * the lease out of ranges of keys only. Local callers without an entry come after all entries,
 * because their entries will be behind them. An entry of this process that no local caller or lock uses is being deleted, so it is left out.
 */
import { backoffMs } from '../backoff.ts';
import { waitAtMost } from '../clock.ts';
import { splitQueue } from '../entry/admission.ts';
import { byCreateRevision, gatesRange, leaseHexOf, namesRange, parseClientId, queueRange, slotsOf } from '../keys.ts';
import { modeOf } from '../kind.ts';
import type { Internals } from '../locker/internals.ts';
import { groupByName } from '../states/list.ts';
import type { KeyValue } from '../store/store.ts';
import type { LockSnapshot } from './types.ts';

type Info = LockSnapshot['held'][number];

interface Reading {
  readonly revision: bigint;
  readonly entries: readonly KeyValue[];
  readonly gates: readonly KeyValue[];
}

/** An etcd that was restored from a backup stays behind the tokens of its past for a long time, so the reads have a limit. */
const maxReads = 10;

/** @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs` */
export async function takeSnapshot(internals: Internals): Promise<LockSnapshot> {
  const { clientId, context, queues } = internals;
  const { entries, gates } = await readUpToDate(internals);
  const clients = new Map(gates.map(({ key, value }) => [leaseHexOf(key), parseClientId(value)]));
  // Foreign entries, such as those of `etcdctl lock`, have a lease but no client.
  const clientOf = ({ key }: KeyValue): string => clients.get(leaseHexOf(key)) ?? leaseHexOf(key);

  const localWaiters = [...queues.waiters()];
  const localKeys = new Set([...localWaiters, ...queues.heldEntries()].map(({ key }) => key));
  // A lock that was released before the end of its minimum hold still keeps the name taken.
  const keptKeys = new Set(context.sessions.keptKeys());
  const isOwnPresent = ({ key }: KeyValue): boolean => localKeys.has(key) || keptKeys.has(key);
  const present = entries.filter((entry) => isOwnPresent(entry) || clientOf(entry) !== clientId);
  const presentKeys = new Set(present.map(({ key }) => key));

  const held: KeyValue[] = [];
  const pending: KeyValue[] = [];
  const infos = new Map<KeyValue, Info>();
  for (const [name, queue] of groupByName(context.prefix, present)) {
    const range = queueRange(context.prefix, name);
    for (const entry of queue) infos.set(entry, toInfo(name, slotsOf(range, entry.key), clientOf(entry)));
    const { holders, waiters } = splitQueue(range, queue);
    held.push(...holders);
    pending.push(...waiters);
  }
  const toSortedInfos = (kvs: KeyValue[]): Info[] => kvs.sort(byCreateRevision).flatMap((entry) => infos.get(entry) ?? []);
  const withoutEntry = localWaiters.filter(({ key }) => key === undefined || !presentKeys.has(key));
  return {
    held: toSortedInfos(held),
    pending: [...toSortedInfos(pending), ...withoutEntry.map(({ name, options }) => toInfo(name, options.slots, clientId))],
  };
}

/** Reads until the revision includes the entries of all locks that this process holds. */
async function readUpToDate({ context, queues }: Internals): Promise<Reading> {
  let reading = await read(context);
  // A lock acquired during a read is missing in that reading, and is no longer a local waiter either.
  for (let reads = 1; reads < maxReads && [...queues.heldEntries()].some(({ token }) => token > reading.revision); reads += 1) {
    if (reads > 1) await waitAtMost(context.clock, backoffMs(reads - 2), new Promise(() => undefined));
    reading = await read(context);
  }
  return reading;
}

async function read({ store, prefix }: Internals['context']): Promise<Reading> {
  const { revision, ranges } = await store.commit({
    compare: [],
    then: [{ range: { ...namesRange(prefix, ''), keysOnly: true } }, { range: gatesRange(prefix) }],
    otherwise: [],
  });
  const [entries = [], gates = []] = ranges;
  return { revision, entries, gates };
}

/** Builds an info with its members in the order of a Web IDL dictionary. */
const toInfo = (name: string, slots: number, clientId: string): Info => ({ clientId, mode: modeOf(slots), name });
