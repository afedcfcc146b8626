/** The transactions on entries: what each one compares, writes and reads. */
import { aheadOf, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { Compare, KeyValue, Operation, Range, Store, Transaction } from '../store/store.ts';

/** What a write that creates an entry compares and does besides the creation. */
export interface Creation {
  readonly compare: readonly Compare[];
  readonly first?: readonly Operation[];
}

interface EntryRef {
  readonly queue: QueueRange;
  readonly key: string;
  readonly slots: number;
}

/** The lease and the gate of the session that an entry belongs to. */
interface Fence {
  readonly leaseId: string;
  readonly gate: { readonly key: string; readonly revision: bigint };
}

const isAt = (key: string, target: 'create' | 'mod', revision: bigint): Compare => ({ key, target, op: '=', revision });

// The other kinds read all keys of a queue: too much for a batch.
const laneOf = ({ queue, slots }: EntryRef): Pick<Transaction, 'lane'> => (slots === exclusive ? { lane: queue.key } : {});

/** Creates the key of an entry that is new in its queue. */
export const plainCreation = ({ key }: Pick<EntryRef, 'key'>): Creation => ({ compare: [isAt(key, 'create', 0n)] });

/** Creates an entry and deletes another one, created at `token`, in the same step. */
export const handOverFrom = ({ key, token }: Pick<EntryRef, 'key'> & { readonly token: bigint }): Creation => ({
  compare: [isAt(key, 'create', token)],
  first: [{ delete: { key } }],
});

/** An entry to be created: its value, and what its creation compares and does besides. */
export interface NewEntry extends EntryRef {
  readonly value: string;
  readonly creation: Creation;
}

/**
 * Creates entries of one queue and kind in their order, and reads the entries before them. If a compare fails it reads the gate, and
 * the entry if it is the only one.
 */
export function buildCreation(entries: readonly [NewEntry, ...NewEntry[]], { leaseId, gate }: Fence): Transaction {
  const [first] = entries;
  const compare: Compare[] = [];
  const then: Operation[] = [];
  for (const { creation } of entries) {
    compare.push(...creation.compare);
    // All deletions come before the range: a waiter would ignore a deletion that is as old as its own look.
    if (creation.first !== undefined) then.push(...creation.first);
  }
  compare.push(isAt(gate.key, 'mod', gate.revision));
  then.push({ range: aheadOf(first.queue, first.slots) });
  for (const { key, value } of entries) then.push({ put: { key, value, leaseId } });
  const otherwise: Operation[] = [{ range: { key: gate.key } }];
  if (entries.length === 1) otherwise.push({ range: { key: first.key } });
  return { compare, then, otherwise, ...laneOf(first) };
}

/** Creates all the entries or none. If a compare fails it reads the gate. */
export function buildCreationOfAll(
  entries: readonly EntryRef[],
  { leaseId, gate }: Fence,
  value: string,
  { compare, first = [] }: Creation,
): Transaction {
  const [single] = entries;
  return {
    compare: [...compare, isAt(gate.key, 'mod', gate.revision)],
    then: [...first, ...entries.map(({ key }) => ({ put: { key, value, leaseId } }))],
    otherwise: [{ range: { key: gate.key } }],
    ...(single !== undefined && entries.length === 1 ? laneOf(single) : {}),
  };
}

/** Deletes the whole queue but the entry's own key: etcd does not let one transaction delete and put a key. */
export const buildClearing = ({ queue, key }: EntryRef): Operation[] => [
  { delete: { key: queue.key, rangeEnd: key } },
  { delete: { key: `${key}\0`, rangeEnd: queue.rangeEnd } },
];

/** Reads the entry, and the entries before it as far as its kind needs them. It may find later entries of the same revision too. */
export const buildLook = (entry: EntryRef, token: bigint): Transaction => ({
  compare: [],
  then: [...(entry.slots === exclusive ? [{ range: { key: entry.key } }] : []), { range: aheadOf(entry.queue, entry.slots, token) }],
  otherwise: [],
  ...laneOf(entry),
});

/** Reads a held entry, and what is behind it: the newest entry of the queue. If others of its kind may hold too, it reads all. */
export const buildLookBehind = (entry: EntryRef): Transaction => {
  const { key, queue, slots } = entry;
  const all: Range = { ...queue, keysOnly: true };
  const behind: Operation[] =
    slots === exclusive ? [{ range: { key, keysOnly: true } }, { range: { ...all, order: 'newest', limit: 1 } }] : [{ range: all }];
  return { compare: [], then: behind, otherwise: [], ...laneOf(entry) };
};

/** Reads each queue as far as an entry of that kind needs it. */
export const buildQueuesRead = (entries: readonly EntryRef[]): Transaction => ({
  compare: [],
  then: entries.map(({ queue, slots }) => ({ range: aheadOf(queue, slots) })),
  otherwise: [],
});

/** Reads the entry linearizably. */
export async function readEntry(store: Store, entry: EntryRef, timeoutMs: number): Promise<KeyValue | undefined> {
  const reading = { compare: [], then: [{ range: { key: entry.key } }], otherwise: [], ...laneOf(entry) };
  const { ranges } = await store.commit(reading, { timeoutMs });
  return ranges[0]?.[0];
}

/** What the move of an entry to another lease needs. */
export interface MovedEntry extends EntryRef {
  readonly token: bigint;
  readonly value: string;
}

/** Moves the entry to another lease, if it still is the one that was created at its token. */
export const buildMove = ({ queue, key, token, value }: MovedEntry, leaseId: string): Transaction => ({
  compare: [isAt(key, 'create', token)],
  then: [{ put: { key, value, leaseId } }],
  otherwise: [],
  lane: queue.key,
});

/** Deletes the entry that was created at `token`, and no other. */
export const buildDeletion = (entry: EntryRef, token: bigint): Transaction => ({
  compare: [isAt(entry.key, 'create', token)],
  then: [{ delete: { key: entry.key } }],
  otherwise: [],
  lane: entry.queue.key,
  // In requests of their own, 64 readers that release a name in one tick take 20 to 60 ms instead of 2 to 10.
  isIndependent: true,
});

/** Deletes the entry that was created at `token`, and reads whether the queue has others. */
export const buildDeletionWithRead = (entry: EntryRef, token: bigint): Transaction => ({
  ...buildDeletion(entry, token),
  then: [{ delete: { key: entry.key } }, { range: { ...entry.queue, limit: 1, keysOnly: true } }],
  isIndependent: false,
});
