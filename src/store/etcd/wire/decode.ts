/**
 * Decodes responses of etcd.
 *
 * Fields that the port does not need are skipped. A missing field has the value 0. Field numbers are those of etcd's rpc.proto and
 * kv.proto.
 *
 * @throws {MalformedMessageError} each function of this file
 */
import type { Committed, KeyValue, WatchEvent } from '../../store.ts';
import { MalformedMessageError, Reader } from './protobuf.ts';

export interface Header {
  readonly revision: bigint;
  readonly raftTerm: bigint;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: readonly KeyValue[];
}

export interface KeepAliveResponse {
  readonly header: Header;
  readonly ttlSeconds: number;
}

export interface WatchResponse {
  readonly header: Header;
  readonly watchId: number;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly cancelReason: string;
  readonly events: readonly WatchEvent[];
}

const noHeader: Header = { revision: 0n, raftTerm: 0n };
const nothing: readonly never[] = [];
const deleted = 1;

export function decodeCommitted(response: Buffer): Committed {
  const committed = readCommitted(new Reader(response));
  expectRevision(committed.revision);
  return committed;
}

/** Decodes the response to a batch. Nested headers are empty, so each transaction gets the revision of the whole. */
export function decodeBatch(response: Buffer, size: number): Committed[] {
  const reader = new Reader(response);
  const inner: Committed[] = [];
  let { revision } = noHeader;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) ({ revision } = readHeader(reader.message()));
    else if (field === 3) inner.push(readNested(reader.message()));
    else reader.skip();
  }
  expectRevision(revision);
  if (inner.length !== size) throw new MalformedMessageError(`it has ${inner.length} parts instead of ${size}`);
  return inner.map(({ succeeded, ranges }) => ({ succeeded, revision, ranges }));
}

export function decodeRange(response: Buffer): RangeResponse {
  const reader = new Reader(response);
  const kvs: KeyValue[] = [];
  let header = noHeader;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) header = readHeader(reader.message());
    else if (field === 2) kvs.push(readKeyValue(reader.message()));
    else reader.skip();
  }
  return { header, kvs };
}

/** Returns the whole seconds of a grant, or those that a lease still lasts: negative then if there is no such lease. */
export function decodeTtl(response: Buffer): number {
  const reader = new Reader(response);
  let ttlSeconds = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 3) ttlSeconds = Number(reader.int64());
    else reader.skip();
  }
  return ttlSeconds;
}

export function decodeToken(response: Buffer): string {
  const reader = new Reader(response);
  let token = '';
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 2) token = reader.string();
    else reader.skip();
  }
  return token;
}

export function decodeLeaseKeys(response: Buffer): Set<string> {
  const reader = new Reader(response);
  const keys = new Set<string>();
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 5) keys.add(reader.string());
    else reader.skip();
  }
  return keys;
}

export function decodeKeepAlive(response: Buffer): KeepAliveResponse {
  const reader = new Reader(response);
  let header = noHeader;
  let ttlSeconds = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) header = readHeader(reader.message());
    else if (field === 3) ttlSeconds = Number(reader.int64());
    else reader.skip();
  }
  return { header, ttlSeconds };
}

export function decodeWatch(response: Buffer): WatchResponse {
  const reader = new Reader(response);
  const events: WatchEvent[] = [];
  let header = noHeader;
  let watchId = 0;
  let created = false;
  let canceled = false;
  let cancelReason = '';
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) header = readHeader(reader.message());
    else if (field === 2) watchId = Number(reader.int64());
    else if (field === 3) created = reader.flag();
    else if (field === 4) canceled = reader.flag();
    else if (field === 6) cancelReason = reader.string();
    else if (field === 11) events.push(readEvent(reader.message()));
    else reader.skip();
  }
  return { header, watchId, created, canceled, cancelReason, events };
}

/** Fencing tokens come from the revision, so a response without one is not accepted. */
function expectRevision(revision: bigint): void {
  if (revision <= 0n) throw new MalformedMessageError('it has no revision');
}

function readCommitted(reader: Reader): Committed {
  let { revision } = noHeader;
  let succeeded = false;
  let ranges: (readonly KeyValue[])[] | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) {
      ({ revision } = readHeader(reader.message()));
    } else if (field === 2) {
      succeeded = reader.flag();
    } else if (field === 3) {
      const range = readRange(reader.message());
      if (range !== undefined) (ranges ??= []).push(range);
    } else {
      reader.skip();
    }
  }
  return { succeeded, revision, ranges: ranges ?? nothing };
}

/** Reads the result of a range. Returns undefined for any other operation. */
function readRange(operation: Reader): readonly KeyValue[] | undefined {
  let kvs: readonly KeyValue[] | undefined;
  for (let field = operation.next(); field !== 0; field = operation.next()) {
    if (field === 1) kvs = readKeyValues(operation.message());
    else operation.skip();
  }
  return kvs;
}

function readKeyValues(reader: Reader): readonly KeyValue[] {
  let kvs: KeyValue[] | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 2) (kvs ??= []).push(readKeyValue(reader.message()));
    else reader.skip();
  }
  return kvs ?? nothing;
}

function readNested(operation: Reader): Committed {
  let committed: Committed | undefined;
  for (let field = operation.next(); field !== 0; field = operation.next()) {
    if (field === 4) committed = readCommitted(operation.message());
    else operation.skip();
  }
  if (committed === undefined) throw new MalformedMessageError('a part of it is no transaction');
  return committed;
}

function readHeader(reader: Reader): Header {
  let { revision, raftTerm } = noHeader;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 3) revision = reader.int64();
    else if (field === 4) raftTerm = reader.int64();
    else reader.skip();
  }
  return { revision, raftTerm };
}

function readKeyValue(reader: Reader): KeyValue {
  let key = '';
  let value = '';
  let createRevision = 0n;
  let modRevision = 0n;
  let lease = 0n;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) key = reader.string();
    else if (field === 2) createRevision = reader.int64();
    else if (field === 3) modRevision = reader.int64();
    else if (field === 5) value = reader.string();
    else if (field === 6) lease = reader.int64();
    else reader.skip();
  }
  return { key, value, createRevision, modRevision, leaseId: lease.toString() };
}

function readEvent(reader: Reader): WatchEvent {
  let type: WatchEvent['type'] = 'put';
  let kv: KeyValue | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) type = reader.number() === deleted ? 'delete' : 'put';
    else if (field === 2) kv = readKeyValue(reader.message());
    else reader.skip();
  }
  if (kv === undefined) throw new MalformedMessageError('an event has no key');
  return { type, kv };
}
