/** Tests of the protobuf codec against the definitions of the etcd3 package. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeBatch,
  decodeCommitted,
  decodeKeepAlive,
  decodeLeaseKeys,
  decodeRange,
  decodeTtl,
  decodeWatch,
} from '../../src/store/etcd/wire/decode.ts';
import {
  encodeBatch,
  encodeCancel,
  encodeGrant,
  encodeLeaseKeys,
  encodeLease,
  encodeRange,
  encodeTransaction,
  encodeWatch,
} from '../../src/store/etcd/wire/encode.ts';
import { MalformedMessageError } from '../../src/store/etcd/wire/protobuf.ts';
import type { Compare, KeyValue, Operation, Range, Transaction, WatchRequest } from '../../src/store/store.ts';
import { messagesOf } from '../support/etcd/messages.ts';

const kv = await messagesOf('KV');
const leases = await messagesOf('Lease');
const watches = await messagesOf('Watch');

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined });
const revision = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }));
const written = revision.map((number) => number || 1n);
const leaseId = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }).map(String);

const range: fc.Arbitrary<Range> = fc.record({
  key: text,
  rangeEnd: maybe(text),
  order: maybe(fc.constantFrom('oldest', 'newest')),
  limit: maybe(fc.nat()),
  maxCreateRevision: maybe(revision),
  keysOnly: maybe(fc.boolean()),
  revision: maybe(revision),
});
const compare: fc.Arbitrary<Compare> = fc.record({
  key: text,
  rangeEnd: maybe(text),
  target: fc.constantFrom('create', 'mod'),
  op: fc.constantFrom('=', '<', '>'),
  revision,
});
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ touch: fc.record({ key: text }) }),
  fc.record({ range }),
  fc.record({ put: fc.record({ key: text, value: fc.oneof(text, fc.string({ minLength: 3_000, maxLength: 9_000 })), leaseId }) }),
  fc.record({ delete: fc.record({ key: text, rangeEnd: maybe(text) }) }),
);
const transaction: fc.Arbitrary<Transaction> = fc.record({
  compare: fc.array(compare, { maxLength: 4 }),
  then: fc.array(operation, { maxLength: 4 }),
  otherwise: fc.array(operation, { maxLength: 4 }),
});

// The messages of etcd3 with the same meaning.
const bytes = (value: string | undefined): Buffer => Buffer.from(value ?? '');
const rangeMessage = ({ key, rangeEnd, order, limit, maxCreateRevision, keysOnly, revision: at }: Range) => ({
  key: bytes(key),
  range_end: bytes(rangeEnd),
  limit: String(limit ?? 0),
  sort_order: order === undefined ? 'None' : { oldest: 'Ascend', newest: 'Descend' }[order],
  sort_target: order === undefined ? 'Key' : 'Create',
  max_create_revision: String(maxCreateRevision ?? 0),
  keys_only: keysOnly === true,
  revision: String(at ?? 0),
});
const compareMessage = ({ key, rangeEnd, target, op, revision: number }: Compare) => ({
  key: bytes(key),
  range_end: bytes(rangeEnd),
  result: { '=': 'Equal', '>': 'Greater', '<': 'Less' }[op],
  ...(target === 'create' ? { target: 'Create', create_revision: String(number) } : { target: 'Mod', mod_revision: String(number) }),
});
const operationMessage = (one: Operation) => {
  if ('range' in one) return { request_range: rangeMessage(one.range) };
  if ('touch' in one) return { request_put: { key: bytes(one.touch.key), ignore_value: true, ignore_lease: true } };
  if ('delete' in one) return { request_delete_range: { key: bytes(one.delete.key), range_end: bytes(one.delete.rangeEnd) } };
  return { request_put: { key: bytes(one.put.key), value: bytes(one.put.value), lease: one.put.leaseId } };
};
const transactionMessage = (one: Transaction) => ({
  compare: one.compare.map(compareMessage),
  success: one.then.map(operationMessage),
  failure: one.otherwise.map(operationMessage),
});

describe('requests that etcd3 decodes', () => {
  test('encodeTransaction() writes every field of the transaction', () => {
    fc.assert(
      fc.property(transaction, (one) => {
        expect(kv('Txn').readRequest(encodeTransaction(one))).toMatchObject(transactionMessage(one));
      }),
    );
  });

  test('encodeTransaction() writes no field that etcd3 would leave out', () => {
    fc.assert(
      fc.property(transaction, (one) => {
        const { readRequest, writeRequest } = kv('Txn');

        expect(readRequest(encodeTransaction(one))).toEqual(readRequest(writeRequest(transactionMessage(one))));
      }),
    );
  });

  test('encodeBatch() keeps the transactions in their order', () => {
    fc.assert(
      fc.property(fc.array(transaction, { maxLength: 10 }), (all) => {
        expect(kv('Txn').readRequest(encodeBatch(all.map(encodeTransaction)))).toMatchObject({
          compare: [],
          success: all.map((one) => ({ request: 'request_txn', request_txn: transactionMessage(one) })),
          failure: [],
        });
      }),
    );
  });

  test('encodeRange() writes every field of the range', () => {
    fc.assert(
      fc.property(range, (one) => {
        expect(kv('Range').readRequest(encodeRange(one))).toMatchObject(rangeMessage(one));
      }),
    );
  });

  test('encodeGrant(), encodeLease() and encodeLeaseKeys() write all 63 bits of the id', () => {
    fc.assert(
      fc.property(leaseId, fc.nat(), (id, ttlSeconds) => {
        expect(leases('LeaseGrant').readRequest(encodeGrant(id, ttlSeconds))).toEqual({ ID: id, TTL: String(ttlSeconds) });
        expect(leases('LeaseRevoke').readRequest(encodeLease(id))).toEqual({ ID: id });
        expect(leases('LeaseKeepAlive').readRequest(encodeLease(id))).toEqual({ ID: id });
        expect(leases('LeaseTimeToLive').readRequest(encodeLeaseKeys(id))).toEqual({ ID: id, keys: true });
        expect(leases('LeaseTimeToLive').readRequest(encodeLease(id))).toEqual({ ID: id, keys: false });
      }),
    );
  });

  test('encodeWatch() and encodeCancel() name the watch, without a start revision', () => {
    const watch: fc.Arbitrary<WatchRequest> = fc.record(
      { key: text, rangeEnd: text, deletesOnly: fc.boolean() },
      { requiredKeys: ['key'] },
    );
    fc.assert(
      fc.property(watch, fc.integer({ min: 1 }), (one, id) => {
        expect(watches('Watch').readRequest(encodeWatch(one, id))).toMatchObject({
          create_request: {
            key: bytes(one.key),
            range_end: bytes(one.rangeEnd),
            start_revision: '0',
            filters: one.deletesOnly === true ? ['Noput'] : [],
            watch_id: String(id),
          },
        });
        expect(watches('Watch').readRequest(encodeCancel(id))).toMatchObject({ cancel_request: { watch_id: String(id) } });
      }),
    );
  });
});

const keyValue: fc.Arbitrary<KeyValue> = fc.record({ key: text, value: text, createRevision: revision, modRevision: revision, leaseId });
const keyValueMessage = ({ key, value, createRevision, modRevision, leaseId: lease }: KeyValue) => ({
  key: bytes(key),
  value: bytes(value),
  create_revision: String(createRevision),
  mod_revision: String(modRevision),
  version: '77',
  lease,
});
const headerMessage = (number: bigint) => ({
  cluster_id: '18446744073709551615',
  member_id: '9',
  revision: String(number),
  raft_term: String(number),
});
const responses = fc.array(fc.option(fc.array(keyValue, { maxLength: 3 }), { nil: undefined }), { maxLength: 4 });
const responsesMessage = (all: readonly (readonly KeyValue[] | undefined)[]) =>
  all.map((kvs) =>
    kvs === undefined
      ? { response_put: { header: headerMessage(5n), prev_kv: { key: bytes('before') } } }
      : { response_range: { header: headerMessage(5n), kvs: kvs.map(keyValueMessage), more: true, count: '12' } },
  );

describe('responses that etcd3 encodes', () => {
  test('decodeCommitted() returns the results of the ranges in their order', () => {
    fc.assert(
      fc.property(written, fc.boolean(), responses, (number, succeeded, all) => {
        const response = kv('Txn').writeAnswer({ header: headerMessage(number), succeeded, responses: responsesMessage(all) });

        expect(decodeCommitted(response)).toEqual({ succeeded, revision: number, ranges: all.filter((kvs) => kvs !== undefined) });
      }),
    );
  });

  test('decodeBatch() returns each transaction with the revision of the whole', () => {
    const parts = fc.array(fc.record({ succeeded: fc.boolean(), all: responses }), { maxLength: 6 });
    fc.assert(
      fc.property(written, parts, (number, inner) => {
        const response = kv('Txn').writeAnswer({
          header: headerMessage(number),
          succeeded: true,
          responses: inner.map(({ succeeded, all }) => ({ response_txn: { header: {}, succeeded, responses: responsesMessage(all) } })),
        });

        expect(decodeBatch(response, inner.length)).toEqual(
          inner.map(({ succeeded, all }) => ({ succeeded, revision: number, ranges: all.filter((kvs) => kvs !== undefined) })),
        );
        expect(() => decodeBatch(response, inner.length + 1)).toThrow(MalformedMessageError);
      }),
    );
  });

  test('decodeRange(), decodeTtl(), decodeKeepAlive() and decodeLeaseKeys() return their fields', () => {
    fc.assert(
      fc.property(revision, fc.array(keyValue, { maxLength: 5 }), fc.nat(), fc.uniqueArray(text), (number, kvs, ttlSeconds, keys) => {
        const header = headerMessage(number);
        const read = { revision: number, raftTerm: number };

        expect(decodeRange(kv('Range').writeAnswer({ header, kvs: kvs.map(keyValueMessage), count: '3' }))).toEqual({ header: read, kvs });
        expect(decodeTtl(leases('LeaseGrant').writeAnswer({ header, ID: '7', TTL: String(ttlSeconds), error: 'no' }))).toBe(ttlSeconds);
        expect(decodeTtl(leases('LeaseTimeToLive').writeAnswer({ header, ID: '7', TTL: '-1', grantedTTL: '9', keys: [] }))).toBe(-1);
        expect(decodeKeepAlive(leases('LeaseKeepAlive').writeAnswer({ header, ID: '7', TTL: String(ttlSeconds) }))).toEqual({
          header: read,
          ttlSeconds,
        });
        expect(decodeLeaseKeys(leases('LeaseTimeToLive').writeAnswer({ header, ID: '7', TTL: '-1', keys: keys.map(bytes) }))).toEqual(
          new Set(keys),
        );
      }),
    );
  });

  test('decodeWatch() returns events, creates and cancels', () => {
    const event = fc.record({ type: fc.constantFrom('put' as const, 'delete' as const), kv: keyValue });
    const about = fc.record({
      watchId: fc.oneof(fc.constant(-1), fc.nat()),
      created: fc.boolean(),
      canceled: fc.boolean(),
      cancelReason: text,
      events: fc.array(event, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(revision, about, (number, response) => {
        const message = watches('Watch').writeAnswer({
          header: headerMessage(number),
          watch_id: String(response.watchId),
          created: response.created,
          canceled: response.canceled,
          compact_revision: '4',
          cancel_reason: response.cancelReason,
          events: response.events.map(({ type, kv: one }) => ({
            type: type === 'put' ? 'Put' : 'Delete',
            kv: keyValueMessage(one),
            prev_kv: { key: bytes('before') },
          })),
        });

        expect(decodeWatch(message)).toEqual({ header: { revision: number, raftTerm: number }, ...response });
      }),
    );
  });
});

describe('unexpected responses', () => {
  const response = kv('Txn').writeAnswer({
    header: headerMessage(300n),
    succeeded: true,
    responses: [{ response_range: { kvs: [{ key: bytes('key'), value: bytes('value'), create_revision: '300', lease: '9' }] } }],
  });

  test('decodeCommitted() skips unknown fields of each type', () => {
    // Field 1000 as a varint, as 8 bytes, as a string, as 4 bytes.
    const newer = Buffer.from('c03e96ffffffffffffff01' + 'c13e0102030405060708' + 'c23e03616263' + 'c53e01020304', 'hex');

    expect(decodeCommitted(Buffer.concat([newer, response, newer]))).toEqual(decodeCommitted(response));
  });

  test('decodeCommitted() throws for a truncated response, and never returns other values', () => {
    for (let size = 0; size < response.length; size += 1) {
      let read: unknown = 'refused';
      try {
        read = decodeCommitted(response.subarray(0, size));
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedMessageError);
      }
      // A message that ends between two fields looks complete.
      if (read !== 'refused') expect(read).toMatchObject({ revision: 300n, ranges: [] });
    }
  });

  test('each decoder either reads random bytes or throws MalformedMessageError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        for (const read of [decodeCommitted, decodeRange, decodeWatch, decodeKeepAlive, decodeLeaseKeys, decodeTtl]) {
          try {
            read(Buffer.from(noise));
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedMessageError);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['a response without a revision', '1001'],
    ['a number that does not end', 'ffffffffffffffffffffffff01'],
    ['a field with the number 0', '0001'],
    ['a group', '0b'],
    ['a string in place of a number', '1201ff'],
    ['a message that is longer than the response', '0a7f08'],
  ])('decodeCommitted() throws for %s', (_, hex) => {
    expect(() => decodeCommitted(Buffer.from(hex, 'hex'))).toThrow(MalformedMessageError);
  });
});
