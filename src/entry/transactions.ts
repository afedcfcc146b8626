/** The transactions on single entries, as they go over the wire: what each compares, does and reads. */
import { aheadOf, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { Compare, Operation, Transaction } from '../store/store.ts';

/** What a write that creates an entry compares and does besides. */
export interface Creation {
  readonly compare: readonly Compare[];
  readonly first?: readonly Operation[];
}

/** What became of one sending of it: where the gate had moved, it may be sent again. */
export type CreationOutcome = 'created' | 'gate-moved' | 'not-created';

interface EntryRef {
  readonly queue: QueueRange;
  readonly key: string;
  readonly slots: number;
}

interface Fence {
  readonly leaseId: string;
  readonly gateKey: string;
  readonly gate: bigint;
}

const isAt = (key: string, target: 'create' | 'mod', revision: bigint): Compare => ({ key, target, op: '=', revision });

// The other kinds read all keys of a queue, too much to be put together with others.
const laneOf = ({ queue, slots }: EntryRef): Pick<Transaction, 'lane'> => (slots === exclusive ? { lane: queue.key } : {});

/**
 * Answered with those of the queue that were there just before, as far as the entry's kind has to know. Where a compare fails, with the
 * entry and the gate.
 */
export function buildCreation(
  place: EntryRef,
  { leaseId, gateKey, gate }: Fence,
  value: string,
  { compare, first = [] }: Creation,
): Transaction {
  const { queue, key, slots } = place;
  return {
    compare: [...compare, isAt(gateKey, 'mod', gate)],
    then: [...first, { range: aheadOf(queue, slots) }, { put: { key, value, leaseId } }],
    otherwise: [{ range: { key } }, { range: { key: gateKey } }],
    ...laneOf(place),
  };
}

/** Creates all the entries or none; answered with the gate where a compare fails. */
export function buildCreationOfAll(
  places: readonly EntryRef[],
  { leaseId, gateKey, gate }: Fence,
  value: string,
  { compare, first = [] }: Creation,
): Transaction {
  const [alone] = places;
  return {
    compare: [...compare, isAt(gateKey, 'mod', gate)],
    then: [...first, ...places.map(({ key }) => ({ put: { key, value, leaseId } }))],
    otherwise: [{ range: { key: gateKey } }],
    ...(alone !== undefined && places.length === 1 ? laneOf(alone) : {}),
  };
}

/** Deletes all of the entry's queue but its own key, which etcd does not let one transaction delete and put. */
export const buildClearing = ({ queue, key }: EntryRef): Operation[] => [
  { delete: { key: queue.key, rangeEnd: key } },
  { delete: { key: `${key}\0`, rangeEnd: queue.rangeEnd } },
];

/** Answered with the entry itself, and those that were created before it, as far as its kind has to know. */
export const buildLook = (place: EntryRef, token: bigint): Transaction => ({
  compare: [],
  then: [{ range: { key: place.key } }, { range: aheadOf(place.queue, place.slots, token) }],
  otherwise: [],
  ...laneOf(place),
});

/** Answered with those that are in each queue, as far as an entry of that kind has to know. */
export const buildQueuesRead = (places: readonly EntryRef[]): Transaction => ({
  compare: [],
  then: places.map(({ queue, slots }) => ({ range: aheadOf(queue, slots) })),
  otherwise: [],
});

export const buildEntryRead = (place: EntryRef): Transaction => ({
  compare: [],
  then: [{ range: { key: place.key } }],
  otherwise: [],
  ...laneOf(place),
});

/** Deletes the entry that was created at `token`, and never another. */
export const buildDeletion = (place: EntryRef, token: bigint): Transaction => ({
  compare: [isAt(place.key, 'create', token)],
  then: [{ delete: { key: place.key } }],
  otherwise: [],
  lane: place.queue.key,
  // In requests of their own, 64 readers that release a name in one tick take 20 to 60 ms instead of 2 to 10.
  isIndependent: true,
});

/** The creation of an entry that takes the place of another one, which was created at `token`. */
export const handOverFrom = ({ key, token }: Pick<EntryRef, 'key'> & { readonly token: bigint }): Creation => ({
  compare: [isAt(key, 'create', token)],
  first: [{ delete: { key } }],
});

/** The creation of an entry whose key is new. */
export const plainCreation = ({ key }: Pick<EntryRef, 'key'>): Creation => ({ compare: [isAt(key, 'create', 0n)] });
