/**
 * What a process can know of its own entries: from responses, and from the watches on them.
 *
 * The deletion of all that is in the way of an entry admits it without a response. A thief or an operator may have deleted the entry
 * itself meanwhile. Only the watch on it tells, and may tell a little later. The judge excuses a lock for just that time.
 */
import type { QueueRange } from '../../src/keys.ts';
import type { Committed, KeyValue, Range, Transaction, WatchRequest } from '../../src/store/store.ts';

type Entry = Pick<KeyValue, 'key' | 'createRevision'>;

interface OwnWatch {
  /** The watch reports what happens after this revision. Undefined while it is not confirmed. */
  confirmedAt: bigint | undefined;
  /** The last deletion of the key that it has reported. */
  reportedAt: bigint;
}

export class Evidence {
  /** The revision at which a response has last shown the entry, or that it is gone. */
  readonly #seenAt = new Map<string, bigint>();
  /** The watches on own entries by their key, and those of waiters on whole queues by the key of the queue. */
  readonly #ownWatches = new Map<string, OwnWatch>();

  /** Takes in a response. A look for an entry without it shows that it is gone. A look for a later entry decides about that one alone. */
  onResponse({ compare, then, otherwise }: Transaction, { succeeded, revision, ranges }: Committed): void {
    for (const kv of ranges.flat()) this.#see(kv, revision);
    if (!succeeded) return;
    for (const one of then) if ('put' in one) this.#see({ key: one.put.key, createRevision: revision }, revision);
    if (compare.length > 0) return;
    const looked = [...then, ...otherwise].flatMap((one) => ('range' in one ? [one.range] : [])).filter(isLook);
    for (const id of this.#seenAt.keys()) {
      const [token = '', key = ''] = id.split(' ');
      const isCovered = looked.some(({ key: from, rangeEnd, maxCreateRevision = 0n }) =>
        rangeEnd === undefined ? from === key : key >= from && key < rangeEnd && BigInt(token) === maxCreateRevision,
      );
      if (isCovered) this.#see({ key, createRevision: BigInt(token) }, revision);
    }
  }

  #see(entry: Entry, revision: bigint): void {
    const id = idOf(entry);
    if (revision > (this.#seenAt.get(id) ?? 0n)) this.#seenAt.set(id, revision);
  }

  /** The revision at which the process has last seen the entry, or that it is gone; that of its creation if there was no later look. */
  seenAt(entry: Entry): bigint {
    const seenAt = this.#seenAt.get(idOf(entry)) ?? 0n;
    return seenAt > entry.createRevision ? seenAt : entry.createRevision;
  }

  onWatch(request: WatchRequest, confirmedAt: bigint | undefined): void {
    if (!isOwn(request)) return;
    const watch = this.#ownWatches.get(request.key);
    this.#ownWatches.set(request.key, { confirmedAt, reportedAt: watch?.reportedAt ?? 0n });
  }

  onDeletion(request: WatchRequest, key: string, revision: bigint): void {
    const watch = isOwn(request) ? this.#ownWatches.get(request.key) : undefined;
    if (watch !== undefined && request.key === key) watch.reportedAt = revision;
  }

  /** Whether the watch on an own entry has reported the end of the entry at `revision`. */
  isReported({ key }: Entry, revision: bigint): boolean {
    return (this.#ownWatches.get(key)?.reportedAt ?? 0n) >= revision;
  }

  /** Whether a watch has yet to report that the entry ended at `revision`: it began before that. A break or a lost event may end it. */
  awaitsReport(entry: Entry, queue: QueueRange, revision: bigint): boolean {
    const began = (watch: OwnWatch | undefined): boolean => watch?.confirmedAt !== undefined && watch.confirmedAt < revision;
    return (began(this.#ownWatches.get(entry.key)) || began(this.#ownWatches.get(queue.key))) && !this.isReported(entry, revision);
  }
}

// With a limit, a read of the queue shows only what is before the entry.
const isLook = ({ rangeEnd, limit }: Range): boolean => rangeEnd === undefined || limit === undefined;

// The own entry has a watch in the background. A waiter for a slot watches the queue.
export const isOwn = ({ rangeEnd, deletesOnly, isBackground }: WatchRequest): boolean =>
  deletesOnly === true && (isBackground === true || rangeEnd !== undefined);

const idOf = ({ key, createRevision }: Entry): string => `${String(createRevision)} ${key}`;
