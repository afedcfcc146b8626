/**
 * Encodes requests to etcd.
 *
 * Every lock costs two transactions, so there are no message objects between the port and the bytes. Fields are written last first,
 * because `Writer` needs it. Field numbers are those of etcd's rpc.proto.
 */
import type { Compare, Operation, Range, Transaction, WatchRequest } from '../../store.ts';
import { Writer } from './protobuf.ts';

/** One writer for all messages, because each message is complete when its function returns. */
const writer = new Writer();
const leaseWriter = new Writer();

const target = { create: 1, mod: 2 };
const revisionOf = { create: 5, mod: 6 };
const result = { '=': 0, '>': 1, '<': 2 };
const order = { oldest: 1, newest: 2 };
const byCreateRevision = 2;
const withoutPuts = 0;

export function encodeTransaction({ compare, then, otherwise }: Transaction): Buffer {
  writer.begin();
  lastFirst(otherwise, (operation) => {
    writeOperation(3, operation);
  });
  lastFirst(then, (operation) => {
    writeOperation(2, operation);
  });
  lastFirst(compare, writeCompare);
  return writer.finish();
}

/** Encodes a transaction of transactions, each with its own compares. */
export function encodeBatch(transactions: readonly Buffer[]): Buffer {
  writer.begin();
  lastFirst(transactions, (transaction) => {
    const mark = writer.length;
    writer.bytes(4, transaction);
    writer.close(2, mark);
  });
  return writer.finish();
}

export function encodeRange(range: Range): Buffer {
  writer.begin();
  writeRange(range);
  return writer.finish();
}

export function encodeGrant(leaseId: string, ttlSeconds: number): Buffer {
  writer.begin();
  writer.int64(2, BigInt(leaseId));
  writer.number(1, ttlSeconds);
  return writer.finish();
}

/** Encodes a request to revoke or to renew a lease, or to read how long it lasts. */
export function encodeLease(leaseId: string): Buffer {
  writer.begin();
  writer.int64(1, BigInt(leaseId));
  return writer.finish();
}

export function encodeLeaseKeys(leaseId: string): Buffer {
  writer.begin();
  writer.flag(2, true);
  writer.int64(1, BigInt(leaseId));
  return writer.finish();
}

export function encodeAuthenticate(username: string, password: string): Buffer {
  writer.begin();
  writer.string(2, password);
  writer.string(1, username);
  return writer.finish();
}

/** Never sets a start revision. If it lies in the past, etcd delivers events in steps of 100 ms. */
export function encodeWatch({ key, rangeEnd, deletesOnly }: WatchRequest, id: number): Buffer {
  writer.begin();
  writer.number(7, id);
  if (deletesOnly === true) writer.bytes(5, Uint8Array.of(withoutPuts));
  if (rangeEnd !== undefined) writer.string(2, rangeEnd);
  writer.string(1, key);
  writer.close(1, 0);
  return writer.finish();
}

export function encodeCancel(watchId: number): Buffer {
  writer.begin();
  writer.number(1, watchId);
  writer.close(2, 0);
  return writer.finish();
}

function writeCompare({ key, rangeEnd, target: kind, op, revision }: Compare): void {
  const mark = writer.length;
  if (rangeEnd !== undefined) writer.string(64, rangeEnd);
  writer.int64(revisionOf[kind], revision);
  writer.string(3, key);
  writer.number(2, target[kind]);
  writer.number(1, result[op]);
  writer.close(1, mark);
}

function writeOperation(branch: number, operation: Operation): void {
  const mark = writer.length;
  if ('range' in operation) {
    writeRange(operation.range);
    writer.close(1, mark);
  } else if ('put' in operation) {
    const { key, value, leaseId } = operation.put;
    writeLease(leaseId);
    if (value !== '') writer.string(2, value);
    writer.string(1, key);
    writer.close(2, mark);
  } else if ('touch' in operation) {
    writer.flag(6, true); // ignore_lease
    writer.flag(5, true); // ignore_value
    writer.string(1, operation.touch.key);
    writer.close(2, mark);
  } else {
    const { key, rangeEnd } = operation.delete;
    if (rangeEnd !== undefined) writer.string(2, rangeEnd);
    writer.string(1, key);
    writer.close(3, mark);
  }
  writer.close(branch, mark);
}

let lease: { readonly id: string; readonly field: Buffer } | undefined;

// A locker uses the same lease in most of its puts, so its field is encoded once.
function writeLease(id: string): void {
  if (id !== lease?.id) {
    leaseWriter.begin();
    leaseWriter.int64(3, BigInt(id));
    lease = { id, field: leaseWriter.finish() };
  }
  writer.raw(lease.field);
}

function writeRange({ key, rangeEnd, order: sorted, limit, maxCreateRevision, keysOnly, revision }: Range): void {
  if (maxCreateRevision !== undefined) writer.int64(13, maxCreateRevision);
  writer.flag(8, keysOnly);
  if (sorted !== undefined) {
    writer.number(6, byCreateRevision);
    writer.number(5, order[sorted]);
  }
  if (revision !== undefined) writer.int64(4, revision);
  if (limit !== undefined) writer.number(3, limit);
  if (rangeEnd !== undefined) writer.string(2, rangeEnd);
  writer.string(1, key);
}

function lastFirst<T>(list: readonly T[], write: (item: T) => void): void {
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const item = list[index];
    if (item !== undefined) write(item);
  }
}
