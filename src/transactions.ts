/** The transactions on a single entry, as they go over the wire: what each compares, does and reads. */
import { lastOf, type QueueRange } from './keys.ts';
import type { Compare, Operation, Transaction } from './store/store.ts';

/** What a write that creates an entry compares and does besides; `otherwise` is read where a compare fails. */
export interface Creation {
  readonly compare: readonly Compare[];
  readonly first?: readonly Operation[];
  readonly otherwise?: readonly Operation[];
}

interface Place {
  readonly queue: QueueRange;
  readonly key: string;
}

/**
 * Answered with the last of the queue as it was just before, the predecessor: without one the entry is admitted. Where a compare fails,
 * with the entry, the gate and what else was asked for.
 */
export function creationOf(
  { queue, key }: Place,
  session: { readonly leaseId: string; readonly gateKey: string; readonly gate: bigint },
  value: string,
  { compare, first = [], otherwise = [] }: Creation,
): Transaction {
  const { leaseId, gateKey, gate } = session;
  return {
    compare: [...compare, { key: gateKey, target: 'mod', op: '=', revision: gate }],
    then: [...first, { range: lastOf(queue) }, { put: { key, value, leaseId } }],
    otherwise: [{ range: { key } }, { range: { key: gateKey } }, ...otherwise],
    lane: queue.key,
  };
}

/** Answered with the entry itself, and the last of those that were created before it. */
export const lookOf = ({ queue, key }: Place, token: bigint): Transaction => ({
  compare: [],
  then: [{ range: { key } }, { range: lastOf(queue, token) }],
  otherwise: [],
  lane: queue.key,
});

export const readingOf = ({ queue, key }: Place): Transaction => ({
  compare: [],
  then: [{ range: { key } }],
  otherwise: [],
  lane: queue.key,
});

/** Deletes the entry that was created at `token`, and never another. */
export const deletionOf = ({ queue, key }: Place, token: bigint): Transaction => ({
  compare: [{ key, target: 'create', op: '=', revision: token }],
  then: [{ delete: { key } }],
  otherwise: [],
  lane: queue.key,
});
