/**
 * Names and the keys that stand for them: the only file that knows the layout on the wire.
 *
 * `<prefix><encoded name>/<lease in hex>-<n>` is one place in a name's queue, `<prefix>@sessions/<lease in hex>` a session's
 * gate. The queue is the one of `etcdctl lock` and of Go's clientv3/concurrency; encoding the name keeps 'a' out of the way of
 * 'a/b', and keeps every name away from '@'.
 */
import type { KeyValue, Range } from './store/store.ts';

/** How an entry shares its name with others. */
export interface Kind {
  readonly mode: 'exclusive' | 'shared';
  readonly slots: number;
}

export const exclusive: Kind = { mode: 'exclusive', slots: 1 };

/** The range that holds a name's whole queue. */
export interface QueueRange {
  readonly key: string;
  readonly rangeEnd: string;
}

export function queueRange(prefix: string, name: string): QueueRange {
  const path = prefix + encodeURIComponent(name);
  // '0' is the character after '/', so the range is all keys that begin with the path and a slash.
  return { key: `${path}/`, rangeEnd: `${path}0` };
}

export const leaseHex = (leaseId: string): string => BigInt(leaseId).toString(16);

export const entryKey = (queue: QueueRange, leaseId: string, n: number): string => `${queue.key}${leaseHex(leaseId)}-${String(n)}`;

export const gateKey = (prefix: string, leaseId: string): string => `${prefix}@sessions/${leaseHex(leaseId)}`;

/** Whether this library wrote the entry; `etcdctl lock`, Go and others write keys of another form. */
export const isOurs = (queue: QueueRange, key: string): boolean => /^[0-9a-f]+-\d+$/.test(key.slice(queue.key.length));

/** A key in etcd is bytes; one that is no UTF-8 cannot be named, and so not be watched on its own. */
export const isExact = (key: string): boolean => !key.includes('\uFFFD');

/** The first of the queue: the holder. */
export const headOf = (queue: QueueRange): Range => ({ ...queue, order: 'oldest', limit: 1, keysOnly: true });

/** The last of the queue, or of those in it that were created before the revision `before`. */
export const lastOf = ({ key, rangeEnd }: QueueRange, before?: bigint): Range => ({
  key,
  rangeEnd,
  order: 'newest',
  limit: 1,
  keysOnly: true,
  maxCreateRevision: before === undefined ? undefined : before - 1n,
});

export const byCreateRevision = (a: KeyValue, b: KeyValue): number => (a.createRevision < b.createRevision ? -1 : 1);
