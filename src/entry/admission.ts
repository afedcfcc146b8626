/**
 * The one rule of every queue: an entry holds exactly if all entries before it are of its own kind, and they are fewer than its slots.
 *
 * A kind is its number of slots. So lock (1), semaphore (n) and read/write lock (1 and Infinity) are one mechanism, and different
 * kinds exclude each other. Later entries change nothing for an entry that is admitted.
 */
import { byCreateRevision, type QueueRange, slotsOf } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { KeyValue } from '../store/store.ts';

/** The reason why an entry waits: `enough` of the entries `keys` have to be deleted first. */
export interface Obstacle {
  readonly keys: readonly string[];
  readonly enough: number;
}

/** Returns the obstacle of an entry with `slots`, given the entries before it; undefined if it is admitted. */
export function findObstacle(queue: QueueRange, slots: number, ahead: readonly KeyValue[]): Obstacle | undefined {
  if (ahead.length === 0) return undefined;
  const lastOther = ahead.filter(({ key }) => slotsOf(queue, key) !== slots).reduce(later, undefined);
  if (lastOther !== undefined) return { keys: [lastOther.key], enough: 1 };
  const enough = ahead.length - slots + 1;
  return enough <= 0 ? undefined : { keys: ahead.map(({ key }) => key), enough };
}

const later = (a: KeyValue | undefined, b: KeyValue): KeyValue => (a !== undefined && a.createRevision > b.createRevision ? a : b);

/** Splits a whole queue into its holders and its waiters, each in their order. */
export function splitQueue(queue: QueueRange, entries: Iterable<KeyValue>): { readonly holders: KeyValue[]; readonly waiters: KeyValue[] } {
  const ordered = [...entries].sort(byCreateRevision);
  const slots = ordered[0] === undefined ? exclusive : slotsOf(queue, ordered[0].key);
  const firstOther = ordered.findIndex(({ key }) => slotsOf(queue, key) !== slots);
  const held = Math.min(slots, firstOther < 0 ? ordered.length : firstOther);
  return { holders: ordered.slice(0, held), waiters: ordered.slice(held) };
}
