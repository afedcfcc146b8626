/**
 * Converts names to keys and back. No other file knows the layout of the keys.
 *
 * `<prefix><encoded name>/<lease in hex>-<n>` is an entry in a name's queue. `<prefix>@sessions/<lease in hex>` is the gate of a session.
 * The queue is that of `etcdctl lock` and of Go's clientv3/concurrency. Names are encoded, so the queue of 'a' does not contain that of
 * 'a/b', and no name collides with '@sessions'. See docs/protocol.md.
 */
import { exclusive, shared } from './kind.ts';
import type { KeyValue, Range } from './store/store.ts';

/** The range of all entries of one name. */
export interface QueueRange {
  readonly key: string;
  readonly rangeEnd: string;
}

/**
 * Encodes a name for use in a key, without the prefix.
 *
 * The names of `lock()` are well-formed and not empty. Those of the Web Locks standard are any strings, so the empty name and lone
 * surrogates get forms that `encodeURIComponent` never returns.
 */
export function encodeName(name: string): string {
  if (name === '') return emptyName;
  if (name.isWellFormed()) return encodeURIComponent(name);
  const parts = name.split(/(\p{Surrogate})/u);
  return parts
    .map((part) => (part.isWellFormed() ? encodeURIComponent(part) : `%u${part.charCodeAt(0).toString(16).toUpperCase()}`))
    .join('');
}

const emptyName = '@empty';

function decodeName(path: string): string {
  if (path === emptyName) return '';
  const parts = path.split(/(%u[0-9A-F]{4})/);
  return parts
    .map((part) => (part.startsWith('%u') ? String.fromCharCode(parseInt(part.slice(2), 16)) : decodeURIComponent(part)))
    .join('');
}

export function queueRange(prefix: string, name: string): QueueRange {
  const path = prefix + encodeName(name);
  // '0' is the character after '/', so the range contains exactly the keys that begin with the path and a slash.
  return { key: `${path}/`, rangeEnd: `${path}0` };
}

/** Returns the range of all entries whose names begin with `startsWith`. */
export function namesRange(prefix: string, startsWith: string): QueueRange {
  const path = startsWith === '' ? prefix : prefix + encodeName(startsWith);
  // Encoded names contain only printable ASCII, and etcd has no empty key.
  return { key: path === '' ? '\0' : path, rangeEnd: `${path}\x7f` };
}

/** Returns the name of an entry's key. Undefined for a gate and for any other key that is in no queue. */
export function nameOf(prefix: string, key: string): string | undefined {
  const slash = key.indexOf('/', prefix.length);
  if (!key.startsWith(prefix) || slash < 0) return undefined;
  const path = key.slice(prefix.length, slash);
  try {
    const name = decodeName(path);
    return encodeName(name) === path ? name : undefined;
  } catch {
    return undefined;
  }
}

let lastLease: { readonly id: string; readonly hex: string } | undefined;

// A locker uses the same lease in most of its keys.
export function leaseHex(leaseId: string): string {
  if (leaseId !== lastLease?.id) lastLease = { id: leaseId, hex: BigInt(leaseId).toString(16) };
  return lastLease.hex;
}

export const entryKey = (queue: Pick<QueueRange, 'key'>, leaseId: string, n: number, slots: number): string =>
  `${queue.key}${leaseHex(leaseId)}-${String(n)}${suffixOf(slots)}`;

function suffixOf(slots: number): string {
  if (slots === exclusive) return '';
  return slots === shared ? '-shared' : `-of-${String(slots)}`;
}

export const gateKey = (prefix: string, leaseId: string): string => `${prefix}@sessions/${leaseHex(leaseId)}`;

/** The range of the gates of all sessions. */
export const gatesRange = (prefix: string): QueueRange => ({ key: `${prefix}@sessions/`, rangeEnd: `${prefix}@sessions0` });

/** Returns the value of a gate: the id of the client that owns the session, and a text for people. */
export const buildGateValue = (clientId: string, value: string): string => `${clientId} ${value}`;

/** Returns the client id in a gate's value: the UUID of one locker. Undefined if the value has another form. */
export const parseClientId = (gateValue: string): string | undefined =>
  /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?= )/.exec(gateValue)?.[0];

const ourForm = /^[0-9a-f]+-\d+(-shared|-of-([1-9]\d{0,15}))?$/;

/** Reports whether this library wrote the entry. `etcdctl lock`, Go and others write keys of another form. */
export const isOurs = (queue: QueueRange, key: string): boolean => ourForm.test(key.slice(queue.key.length));

/** Reports whether the key has the form of an entry that a session with this lease creates. */
export function isEntryOf(prefix: string, leaseId: string, key: string): boolean {
  const name = nameOf(prefix, key);
  if (name === undefined) return false;
  const queue = queueRange(prefix, name);
  return isOurs(queue, key) && key.startsWith(`${queue.key}${leaseHex(leaseId)}-`);
}

/** Returns the kind of an entry. A foreign entry counts as exclusive. */
export function slotsOf(queue: QueueRange, key: string): number {
  const [, suffix, count] = ourForm.exec(key.slice(queue.key.length)) ?? [];
  if (count !== undefined) return Number(count);
  return suffix === undefined ? exclusive : shared;
}

/** Reports whether `key` is the exact key in etcd. A key that is not UTF-8 cannot be sent, so it cannot be watched or deleted alone. */
export const isExact = (key: string): boolean => !key.includes('\uFFFD');

/** Returns the key at which to continue a range after `key`, which is in no queue. Skips no queue. */
export function keyAfter(prefix: string, key: string): string {
  if (isExact(key)) return `${key}\0`;
  // As text, a key that is not UTF-8 may sort before itself. Names are ASCII, so no entry with the same beginning sorts after it.
  const [start = ''] = /^[\0-~]*/.exec(key.slice(prefix.length)) ?? [];
  return start === '' ? `${prefix}\x7f` : prefix + start.slice(0, -1) + String.fromCharCode(start.charCodeAt(start.length - 1) + 1);
}

/**
 * Returns the lease in the key of an entry or a gate, in hexadecimal. `etcdctl lock` and Go write it too.
 * A foreign key of another form returns its last part.
 */
export function leaseHexOf(key: string): string {
  const last = key.slice(key.lastIndexOf('/') + 1);
  return /^([0-9a-f]+)(-\d+(-shared|-of-\d+)?)?$/.exec(last)?.[1] ?? last;
}

/** The range of the oldest entry of the queue, which is a holder. */
export const headOf = (queue: QueueRange): Range => ({ ...queue, order: 'oldest', limit: 1, keysOnly: true });

/**
 * Returns the range that decides about an entry of the kind `slots`: the entries of the queue, or those before an entry with `token`.
 * An exclusive entry needs only the newest two of them: whether there is one, and whether it is the only one. The other kinds need the
 * keys of all. These kinds may share a revision with others of their kind, so their range includes `token` itself.
 */
export const aheadOf = ({ key, rangeEnd }: QueueRange, slots: number, token?: bigint): Range => ({
  key,
  rangeEnd,
  ...(slots === exclusive ? { order: 'newest', limit: 2 } : undefined),
  keysOnly: true,
  maxCreateRevision: token === undefined || slots !== exclusive ? token : token - 1n,
});

/** Orders the entries of a queue. Entries of one revision differ in their number only, and the smaller number comes first. */
export function byCreateRevision(a: Pick<KeyValue, 'key' | 'createRevision'>, b: Pick<KeyValue, 'key' | 'createRevision'>): number {
  if (a.createRevision !== b.createRevision) return a.createRevision < b.createRevision ? -1 : 1;
  if (a.key.length !== b.key.length) return a.key.length - b.key.length;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
