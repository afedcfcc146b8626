/**
 * The one rule of every queue: an entry holds exactly if all entries before it are of its own kind, and they are fewer than its slots.
 *
 * A kind is its number of slots. So lock (1), semaphore (n) and read/write lock (1 and Infinity) are one mechanism, and different
 * kinds exclude each other. Later entries change nothing for an entry that is admitted.
 */
import { byCreateRevision, isExact, type QueueRange, slotsOf } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { KeyValue } from '../store/store.ts';

/** The reason why an entry waits: `enough` of the entries `keys` have to be deleted first. */
export interface Obstacle {
  readonly keys: readonly string[];
  readonly enough: number;
  /** These entries are all that is in the way: the entry is admitted once enough of them are deleted. Otherwise only a look can tell. */
  readonly isAll: boolean;
}

/**
 * Returns the obstacle of an entry with `slots`, given the entries before it; undefined if it is admitted. An exclusive entry needs only
 * the last two of them.
 */
export function findObstacle(queue: QueueRange, slots: number, ahead: readonly KeyValue[]): Obstacle | undefined {
  if (ahead.length === 0) return undefined;
  // With two or more before it, the end of one of the last two says that the queue has moved.
  if (slots === exclusive) return { keys: ahead.map(({ key }) => key), enough: 1, isAll: isOnly(ahead) };
  const others = ahead.filter(({ key }) => slotsOf(queue, key) !== slots);
  const lastOther = others.reduce(later, undefined);
  const own = ahead.length - others.length;
  if (lastOther !== undefined) return { keys: [lastOther.key], enough: 1, isAll: isOnly(others) && own < slots };
  const enough = own - slots + 1;
  return enough <= 0 ? undefined : { keys: ahead.map(({ key }) => key), enough, isAll: true };
}

// Two keys that are not UTF-8 may read the same, so the deletion of such a key proves nothing.
const isOnly = ([first, ...others]: readonly KeyValue[]): boolean => first !== undefined && others.length === 0 && isExact(first.key);

const later = (a: KeyValue | undefined, b: KeyValue): KeyValue => (a !== undefined && a.createRevision > b.createRevision ? a : b);

/** Splits a whole queue into its holders and its waiters, each in their order. */
export function splitQueue(queue: QueueRange, entries: Iterable<KeyValue>): { readonly holders: KeyValue[]; readonly waiters: KeyValue[] } {
  const ordered = [...entries].sort(byCreateRevision);
  const slots = ordered[0] === undefined ? exclusive : slotsOf(queue, ordered[0].key);
  const firstOther = ordered.findIndex(({ key }) => slotsOf(queue, key) !== slots);
  const held = Math.min(slots, firstOther < 0 ? ordered.length : firstOther);
  return { holders: ordered.slice(0, held), waiters: ordered.slice(held) };
}
