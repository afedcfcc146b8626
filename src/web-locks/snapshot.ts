/**
 * "Snapshot the lock state": who holds and who waits, over all names and machines, as of one revision.
 *
 * The gates, read beside the entries, tell whose session each lease is. Who waits in this process and has no entry yet comes after those
 * who have one, as in etcd; an entry of this process that stands for nobody any more is only on its way out.
 */
import { splitQueue } from '../entry/admission.ts';
import type { Internals } from '../locker/internals.ts';
import { byCreateRevision, parseClientId, gatesRange, leaseHex, namesRange, queueRange, slotsOf } from '../keys.ts';
import { modeOf } from '../kind.ts';
import { groupByName } from '../states/list.ts';
import type { Committed, KeyValue } from '../store/store.ts';
import type { LockSnapshot } from './types.ts';

type Info = LockSnapshot['held'][number];

/** Where etcd was restored from a snapshot its revisions stay behind the tokens that were given out before, however often one reads. */
const maxReads = 10;

/** @throws {EtcdUnavailableError} nobody answered in time */
export async function snapshot({ clientId, context: shared, queues: lines }: Internals): Promise<LockSnapshot> {
  const { prefix } = shared;
  let { revision, ranges } = await read(shared);
  // Whoever got its lock here while the answer was on its way is in no list of that revision, neither as a holder nor as one who waits.
  for (let reads = 1; reads < maxReads && [...lines.heldEntries()].some(({ token }) => token > revision); reads += 1) {
    ({ revision, ranges } = await read(shared));
  }
  const [entries = [], gates = []] = ranges;
  const clients = new Map(gates.map(({ leaseId, value }) => [leaseId, parseClientId(value)]));
  // Foreign ones, such as `etcdctl lock`, have nothing but their lease.
  const clientOf = ({ leaseId }: KeyValue): string => clients.get(leaseId) ?? leaseHex(leaseId);

  const waiting = [...lines.waiters()];
  const living = new Set([...waiting, ...lines.heldEntries()].map(({ key }) => key));
  const present = entries.filter((entry) => living.has(entry.key) || clientOf(entry) !== clientId);
  const found = new Set(present.map(({ key }) => key));

  const held: KeyValue[] = [];
  const pending: KeyValue[] = [];
  const infos = new Map<KeyValue, Info>();
  for (const [name, queue] of groupByName(prefix, present)) {
    const range = queueRange(prefix, name);
    for (const entry of queue) infos.set(entry, info(name, slotsOf(range, entry.key), clientOf(entry)));
    const { holders, waiters } = splitQueue(range, queue);
    held.push(...holders);
    pending.push(...waiters);
  }
  const inOrder = (list: KeyValue[]): Info[] => list.sort(byCreateRevision).flatMap((entry) => infos.get(entry) ?? []);
  const notYet = waiting.filter(({ key }) => key === undefined || !found.has(key));
  return {
    held: inOrder(held),
    pending: [...inOrder(pending), ...notYet.map(({ name, options }) => info(name, options.slots, clientId))],
  };
}

/** With the members in the order that Web IDL gives those of a dictionary. */
const info = (name: string, slots: number, clientId: string): Info => ({ clientId, mode: modeOf(slots), name });

const read = ({ store, prefix }: Internals['context']): Promise<Committed> =>
  store.commit({
    compare: [],
    then: [{ range: { ...namesRange(prefix, ''), keysOnly: true } }, { range: gatesRange(prefix) }],
    otherwise: [],
  });
