/**
 * Creates entries: one, or several of one queue, kind and session in one transaction.
 *
 * Entries of one transaction have one create revision. Their numbers give their order, so each must have a larger number than the one
 * before it.
 */
import type { Context } from '../context.ts';
import { OutcomeUnknownError } from '../errors.ts';
import type { KeyValue } from '../store/store.ts';
import type { Entry } from './entry.ts';
import { buildCreation, handOverFrom, plainCreation } from './transactions.ts';

/** A new entry, and the released entry that its creation deletes, if there is one. */
export interface EntryToCreate {
  readonly entry: Entry;
  readonly old: Entry | undefined;
  /** How large a transaction with this entry may be. */
  readonly maxOperations: number;
}

/** The outcome of a creation that etcd responded to. After 'gate-moved' it may be sent again. */
export type CreationOutcome = 'created' | 'gate-moved' | 'not-created';

interface Created {
  readonly outcome: CreationOutcome;
  readonly revision: bigint;
  /** The queue up to the new entries, as far as their kind needs it; empty if they were not created now. */
  readonly found: readonly KeyValue[];
}

/**
 * Sends a write that creates all the entries or none, once.
 * @throws {OutcomeUnknownError} the outcome is unknown; `Entry.settle` finds out what happened
 */
export async function createEntries(
  { store }: Pick<Context, 'store'>,
  [head, ...others]: readonly [EntryToCreate, ...EntryToCreate[]],
  timeoutMs: number,
): Promise<Created> {
  const { session } = head.entry;
  const gate = session.gate.revision;
  const knownToken = session.newestToken;
  const entries = [head.entry, ...others.map(({ entry }) => entry)];
  let response;
  try {
    response = await store.commit(buildCreation([toNew(head), ...others.map(toNew)], session), { once: true, timeoutMs });
  } catch (error) {
    if (error instanceof OutcomeUnknownError) for (const entry of entries) entry.markUnsettled(gate, error.cause);
    throw error;
  }
  const { succeeded, revision, ranges } = response;
  if (succeeded) {
    const ahead = [...(ranges[0] ?? [])];
    for (const entry of entries) {
      entry.onCreated(revision, ahead);
      ahead.push(toKeyValue(entry));
    }
    return { outcome: 'created', revision, found: ahead };
  }
  const [[gateNow] = [], [own] = []] = ranges;
  if (own?.leaseId === session.leaseId) {
    head.entry.onFound(own);
    if (own.createRevision > knownToken) return { outcome: others.length === 0 ? 'created' : 'gate-moved', revision, found: [] };
    // A restore from a snapshot has brought back an earlier entry with this key.
    head.entry.release();
    return { outcome: 'not-created', revision, found: [] };
  }
  head.entry.isKeyForeign = own !== undefined;
  return { outcome: session.gate.observe(gateNow, gate) === gate ? 'not-created' : 'gate-moved', revision, found: [] };
}

const toNew = ({ entry, old }: EntryToCreate) => {
  const { queue, key, slots, value } = entry;
  return { queue, key, slots, value, creation: old === undefined ? plainCreation(entry) : handOverFrom(old) };
};

const toKeyValue = ({ key, token, session }: Entry): KeyValue => ({
  key,
  value: '',
  createRevision: token,
  modRevision: token,
  leaseId: session.leaseId,
});
