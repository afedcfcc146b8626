/**
 * Names and the keys that stand for them: the only file that knows the layout on the wire.
 *
 * `<prefix><encoded name>/<lease in hex>-<n>` is one place in a name's queue, `<prefix>@sessions/<lease in hex>` a session's
 * gate. The queue is the one of `etcdctl lock` and of Go's clientv3/concurrency; encoding the name keeps 'a' out of the way of
 * 'a/b', and keeps every name away from '@'.
 */
import { exclusive, shared } from './kind.ts';
import type { KeyValue, Range } from './store/store.ts';

/** The range that holds a name's whole queue. */
export interface QueueRange {
  readonly key: string;
  readonly rangeEnd: string;
}

/**
 * The part of a key that stands for the name, without the prefix.
 *
 * A name is well-formed and not empty, but for those of the Web Locks standard, which may be any string: the empty one and lone surrogates
 * get forms that no encoding has.
 */
export function queuePath(name: string): string {
  if (name === '') return emptyName;
  if (name.isWellFormed()) return encodeURIComponent(name);
  const parts = name.split(/(\p{Surrogate})/u);
  return parts
    .map((part) => (part.isWellFormed() ? encodeURIComponent(part) : `%u${part.charCodeAt(0).toString(16).toUpperCase()}`))
    .join('');
}

const emptyName = '@empty';

function decodePath(path: string): string {
  if (path === emptyName) return '';
  const parts = path.split(/(%u[0-9A-F]{4})/);
  return parts
    .map((part) => (part.startsWith('%u') ? String.fromCharCode(parseInt(part.slice(2), 16)) : decodeURIComponent(part)))
    .join('');
}

export function queueRange(prefix: string, name: string): QueueRange {
  const path = prefix + queuePath(name);
  // '0' is the character after '/', so the range is all keys that begin with the path and a slash.
  return { key: `${path}/`, rangeEnd: `${path}0` };
}

/** The range of all keys whose names begin with `startsWith`. */
export function namesRange(prefix: string, startsWith: string): QueueRange {
  const path = startsWith === '' ? prefix : prefix + queuePath(startsWith);
  // Encoded names have printable ASCII alone, and no key is empty.
  return { key: path === '' ? '\0' : path, rangeEnd: `${path}\x7f` };
}

/** The name in whose queue a key is; undefined for a gate and for what is no queue's. */
export function nameOf(prefix: string, key: string): string | undefined {
  const slash = key.indexOf('/', prefix.length);
  if (!key.startsWith(prefix) || slash < 0) return undefined;
  const path = key.slice(prefix.length, slash);
  try {
    const name = decodePath(path);
    return queuePath(name) === path ? name : undefined;
  } catch {
    return undefined;
  }
}

export const leaseHex = (leaseId: string): string => BigInt(leaseId).toString(16);

export const entryKey = (queue: QueueRange, leaseId: string, n: number, slots: number): string =>
  `${queue.key}${leaseHex(leaseId)}-${String(n)}${suffixOf(slots)}`;

function suffixOf(slots: number): string {
  if (slots === exclusive) return '';
  return slots === shared ? '-shared' : `-of-${String(slots)}`;
}

export const gateKey = (prefix: string, leaseId: string): string => `${prefix}@sessions/${leaseHex(leaseId)}`;

/** The range of all gates. */
export const gatesRange = (prefix: string): QueueRange => ({ key: `${prefix}@sessions/`, rangeEnd: `${prefix}@sessions0` });

/** What a gate tells: the client whose session it is, and a text for people. */
export const gateValueOf = (clientId: string, value: string): string => `${clientId} ${value}`;

/** Whose session it is by its gate's value: a UUID, one for each locker. */
export const clientIdOf = (gateValue: string): string | undefined => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?= )/.exec(gateValue)?.[0];

const ourForm = /^[0-9a-f]+-\d+(-shared|-of-([1-9]\d{0,15}))?$/;

/** Whether this library wrote the entry; `etcdctl lock`, Go and others write keys of another form. */
export const isOurs = (queue: QueueRange, key: string): boolean => ourForm.test(key.slice(queue.key.length));

/** The kind of an entry; a foreign one counts as exclusive. */
export function slotsOf(queue: QueueRange, key: string): number {
  const [, suffix, count] = ourForm.exec(key.slice(queue.key.length)) ?? [];
  if (count !== undefined) return Number(count);
  return suffix === undefined ? exclusive : shared;
}

/** A key in etcd is bytes; one that is no UTF-8 cannot be named, and so not be watched on its own. */
export const isExact = (key: string): boolean => !key.includes('\uFFFD');

/** Where to read on after a key that is in no queue, such that no queue is passed over. */
export function keyAfter(prefix: string, key: string): string {
  if (isExact(key)) return `${key}\0`;
  // Read as text it may lie before itself. But names are ASCII: of the keys that begin as it does, no name's come after it.
  const [start = ''] = /^[\0-~]*/.exec(key.slice(prefix.length)) ?? [];
  return start === '' ? `${prefix}\x7f` : prefix + start.slice(0, -1) + String.fromCharCode(start.charCodeAt(start.length - 1) + 1);
}

/** The first of the queue: the holder. */
export const headOf = (queue: QueueRange): Range => ({ ...queue, order: 'oldest', limit: 1, keysOnly: true });

/**
 * What an entry of that kind must know of the queue, or of those in it that were created before the revision `token`: the last of them
 * where it has to be alone, else all their keys.
 */
export const aheadOf = ({ key, rangeEnd }: QueueRange, slots: number, token?: bigint): Range => ({
  key,
  rangeEnd,
  ...(slots === exclusive ? { order: 'newest', limit: 1 } : undefined),
  keysOnly: true,
  maxCreateRevision: token === undefined ? undefined : token - 1n,
});

export const byCreateRevision = (a: KeyValue, b: KeyValue): number => (a.createRevision < b.createRevision ? -1 : 1);
