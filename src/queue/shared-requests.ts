/**
 * The requests that several acquisitions of one name share: creations and looks.
 *
 * What one process asks for on one name is created in the order of the calls. etcd applies requests that are under way together in any
 * order, so only one creation of a name is under way. It takes along the next entries of its kind and session. They all get one create
 * revision, and their order is that of their numbers.
 *
 * A look of a kind that several may hold shows the whole queue before one entry. So it shows the admission of all earlier entries of the
 * kind too. docs/decisions/017-creations-in-order.md has the reasons.
 */
import type { Context } from '../context.ts';
import { splitQueue } from '../entry/admission.ts';
import { createEntries, type EntryToCreate } from '../entry/creation.ts';
import type { Entry } from '../entry/entry.ts';
import { buildLook } from '../entry/transactions.ts';
import { EtcdRefusedError, EtcdUnavailableError } from '../errors.ts';
import { byCreateRevision, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { KeyValue } from '../store/store.ts';
import type { Acquisition } from './acquisition.ts';

/** The most bytes of values in one transaction. etcd takes 1.5 MiB, unless `--max-request-bytes` says otherwise. */
const maxBytes = 512 * 1024;
/** With less time than this left no request could succeed. */
const shortestMs = 10;

interface Member {
  readonly acquisition: Acquisition;
  readonly toCreate: EntryToCreate;
}

/** The acquisitions whose entries one transaction creates. */
export type Group = readonly [Member, ...Member[]];

/**
 * Returns the acquisition and those after it that can be created with it. Undefined if an earlier one must be created first, or an
 * earlier one of `tries` is under way.
 */
export function takeGroup(acquisitions: Iterable<Acquisition>, first: Acquisition, tries: readonly object[]): Group | undefined {
  const toCreate = first.creatable;
  const awaitsTry = ({ creation }: Acquisition): boolean => creation.earlierTries.some((one) => tries.includes(one));
  if (toCreate === undefined || awaitsTry(first)) return undefined;
  const group: [Member, ...Member[]] = [{ acquisition: first, toCreate }];
  let operations = operationsOf(toCreate);
  let bytes = toCreate.entry.value.length;
  let last = toCreate.entry;
  let { maxOperations } = toCreate;
  let isBefore = true;
  for (const acquisition of acquisitions) {
    if (acquisition === first) {
      isBefore = false;
      continue;
    }
    if (isBefore) {
      if (acquisition.delaysLater) return undefined;
      continue;
    }
    const next = acquisition.creatable;
    if (next === undefined) {
      if (acquisition.delaysLater) break;
      continue;
    }
    operations += operationsOf(next);
    bytes += next.entry.value.length;
    maxOperations = Math.min(maxOperations, next.maxOperations);
    if (operations > maxOperations || bytes > maxBytes || awaitsTry(acquisition) || !mayFollow(last, next.entry)) break;
    group.push({ acquisition, toCreate: next });
    last = next.entry;
  }
  return group;
}

/** A hand-over is a deletion besides the creation. */
const operationsOf = ({ old }: EntryToCreate): number => (old === undefined ? 1 : 2);

// Two exclusive entries must not have one revision: a look for the one would not show the other.
const mayFollow = (last: Entry, next: Entry): boolean =>
  last.slots === next.slots && last.slots !== exclusive && last.session === next.session && byNumber(last, next) < 0;

const byNumber = (a: Entry, b: Entry): number => byCreateRevision({ key: a.key, createRevision: 0n }, { key: b.key, createRevision: 0n });

/** Creates the entries of the group, and notifies its acquisitions in their order. Never rejects. */
export async function createGroup(
  context: Context,
  range: QueueRange,
  acquisitions: Iterable<Acquisition>,
  group: Group,
  timeLeftMs: (acquisition: Acquisition) => number,
): Promise<void> {
  const [head, ...others] = group;
  const isAlone = others.length === 0;
  try {
    const toCreate = [head.toCreate, ...others.map((one) => one.toCreate)] as const;
    const { outcome, revision, found } = await createEntries(context, toCreate, timeLeftMs(head.acquisition));
    const isSplit = outcome === 'not-created' && !isAlone;
    if (isSplit) split(group);
    for (const { acquisition } of group) acquisition.onCreation(isSplit ? 'gate-moved' : outcome);
    if (head.acquisition.slots !== exclusive) noteAdmitted(range, acquisitions, found, revision);
  } catch (error) {
    const isSplit = error instanceof EtcdRefusedError && !error.isFinal && !isAlone;
    if (isSplit) split(group);
    for (const { acquisition } of group) {
      // The request had the time of its first caller. A later one may have more.
      const hasTime = error instanceof EtcdUnavailableError && acquisition !== head.acquisition && timeLeftMs(acquisition) > shortestMs;
      if (isSplit) acquisition.onCreation('gate-moved');
      else if (hasTime) acquisition.creation.endUnsent();
      else acquisition.onCreationFailure(error);
    }
  }
}

// The fault of one entry must not hit the others: halves find it.
function split(group: Group): void {
  for (const { acquisition } of group) acquisition.creation.maxOperations = Math.max(1, group.length >> 1);
}

/** Looks for the acquisition, and for all of its kind that need a look. */
export function lookTogether(
  { store }: Context,
  range: QueueRange,
  acquisitions: Iterable<Acquisition>,
  { slots, lookable }: Acquisition,
): Promise<void> {
  const looking = [...acquisitions].filter((one) => one.slots === slots && one.lookable !== undefined);
  const entries = looking.flatMap((one) => one.lookable ?? []);
  const newest = entries.map(toOrdered).sort((a, b) => byCreateRevision(b, a))[0]?.entry ?? lookable;
  if (newest === undefined) return Promise.resolve();
  const send = async (): Promise<void> => {
    const { revision, ranges } = await store.commit(buildLook(newest, newest.token));
    const found = ranges.flat();
    for (const entry of entries) entry.onLook(revision, found);
    if (slots !== exclusive) noteAdmitted(range, acquisitions, found, revision);
  };
  for (const entry of entries) entry.startLook();
  const look = send();
  for (const one of looking) one.startLook(look);
  return look;
}

const toOrdered = (entry: Entry) => ({ entry, key: entry.key, createRevision: entry.token });

/** Takes in all entries of the queue up to one, as of `revision`: an entry of this process that it shows among the holders needs no look of its own. */
function noteAdmitted(range: QueueRange, acquisitions: Iterable<Acquisition>, found: readonly KeyValue[], revision: bigint): void {
  const tokens = new Map(splitQueue(range, found).holders.map(({ key, createRevision }) => [key, createRevision]));
  for (const { queuedEntry } of acquisitions) {
    if (queuedEntry !== undefined && tokens.get(queuedEntry.key) === queuedEntry.token) queuedEntry.onSeenAdmitted(revision);
  }
}
