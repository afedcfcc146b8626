/** Tests of the key layout: entries, gates, ranges and kinds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  aheadOf,
  byCreateRevision,
  entryKey,
  gateKey,
  headOf,
  isExact,
  isOurs,
  leaseHex,
  leaseHexOf,
  nameOf,
  namesRange,
  queueRange,
  slotsOf,
} from '../../src/keys.ts';
import { modeOf } from '../../src/kind.ts';

const names = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
  fc.string({
    unit: fc.constantFrom('a', 'b', '/', '0', '.', '%', '2', 'F', '@', '-', '~', '!', '\0', 'ä', '😀'),
    minLength: 1,
    maxLength: 6,
  }),
);
const prefixes = fc.constantFrom('', 'locks/', 'a', '/');
const leases = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String);
const numbers = fc.integer({ min: 1, max: 1_000_000 });
const kinds = fc.oneof(fc.constantFrom(1, Infinity), fc.integer({ min: 2, max: Number.MAX_SAFE_INTEGER }));

const bytes = (text: string): Buffer => Buffer.from(text);
const isWithin = (key: string, { key: from, rangeEnd }: { key: string; rangeEnd: string }): boolean =>
  bytes(key).compare(bytes(from)) >= 0 && bytes(key).compare(bytes(rangeEnd)) < 0;

describe('keys', () => {
  test('keys have the layout of etcdctl lock and Go', () => {
    expect(queueRange('locks/', 'orders')).toEqual({ key: 'locks/orders/', rangeEnd: 'locks/orders0' });
    expect(queueRange('locks/', 'a/ä@%')).toEqual({ key: 'locks/a%2F%C3%A4%40%25/', rangeEnd: 'locks/a%2F%C3%A4%40%250' });
    expect(entryKey(queueRange('locks/', 'orders'), '9223372036854775807', 12, 1)).toBe('locks/orders/7fffffffffffffff-12');
    expect(entryKey(queueRange('locks/', 'orders'), '255', 1, Infinity)).toBe('locks/orders/ff-1-shared');
    expect(entryKey(queueRange('locks/', 'orders'), '255', 1, 3)).toBe('locks/orders/ff-1-of-3');
    expect(gateKey('locks/', '255')).toBe('locks/@sessions/ff');
    expect(leaseHex('255')).toBe('ff');
  });

  test('queueRange() differs for each two names', () => {
    fc.assert(
      fc.property(names, names, (one, other) => {
        fc.pre(one !== other);
        expect(queueRange('locks/', one).key).not.toBe(queueRange('locks/', other).key);
      }),
    );
  });

  test('nameOf() returns the name of an entry', () => {
    fc.assert(
      fc.property(names, (name) => {
        const { key } = queueRange('locks/', name);
        expect(nameOf('locks/', `${key}ff-1`)).toBe(name);
      }),
    );
  });

  test.each(['locks/@sessions/ff', 'locks/a', 'locks/a b/ff', 'locks/%e4/ff', 'locks/%/ff', 'locks//ff', 'other/a/ff'])(
    'nameOf() is undefined for %j, which is in no queue',
    (key) => {
      expect(nameOf('locks/', key)).toBeUndefined();
    },
  );

  test('namesRange() contains the entries of all names with the prefix, and no others', () => {
    fc.assert(
      fc.property(prefixes, names, names, leases, (prefix, start, name, leaseId) => {
        const key = entryKey(queueRange(prefix, name), leaseId, 1, 1);
        expect(isWithin(key, namesRange(prefix, start))).toBe(name.startsWith(start));
        expect(isWithin(key, namesRange(prefix, ''))).toBe(true);
        expect(isWithin(entryKey(queueRange(prefix, start + name), leaseId, 1, 1), namesRange(prefix, start))).toBe(true);
      }),
    );
  });

  test('an entry is in the range of its own name and of no other name', () => {
    fc.assert(
      fc.property(prefixes, names, names, leases, numbers, kinds, (prefix, one, other, leaseId, n, slots) => {
        fc.pre(one !== other);
        const key = entryKey(queueRange(prefix, one), leaseId, n, slots);
        expect(isWithin(key, queueRange(prefix, one))).toBe(true);
        expect(isWithin(key, queueRange(prefix, other))).toBe(false);
      }),
    );
  });

  test('a gate is in the range of no name', () => {
    fc.assert(
      fc.property(prefixes, names, leases, (prefix, name, leaseId) => {
        expect(isWithin(gateKey(prefix, leaseId), queueRange(prefix, name))).toBe(false);
      }),
    );
  });

  test('isOurs() and slotsOf() recognize the entries of this library', () => {
    fc.assert(
      fc.property(names, leases, numbers, kinds, (name, leaseId, n, slots) => {
        const queue = queueRange('locks/', name);
        expect(isOurs(queue, entryKey(queue, leaseId, n, slots))).toBe(true);
        expect(slotsOf(queue, entryKey(queue, leaseId, n, slots))).toBe(slots);
        expect(modeOf(slots)).toBe(slots === 1 ? 'exclusive' : 'shared');
        expect(isOurs(queue, `${queue.key}${leaseHex(leaseId)}`)).toBe(false);
      }),
    );
  });

  test.each(['694d8e8f', '694d-', '-1', 'x-1', '694D-1', '694d-1-2', '694d-1/x', '694d-1-of-0', '694d-1-of-', '694d-1-share', ''])(
    'isOurs() is false for %j, and slotsOf() counts it as exclusive',
    (suffix) => {
      const queue = queueRange('locks/', 'a');

      expect(isOurs(queue, queue.key + suffix)).toBe(false);
      expect(slotsOf(queue, queue.key + suffix)).toBe(1);
    },
  );

  test('leaseHexOf() finds the lease in the keys of gates and entries, also of other programs', () => {
    fc.assert(
      fc.property(names, leases, numbers, kinds, (name, leaseId, n, slots) => {
        const queue = queueRange('locks/', name);
        expect(leaseHexOf(entryKey(queue, leaseId, n, slots))).toBe(leaseHex(leaseId));
        expect(leaseHexOf(gateKey('locks/', leaseId))).toBe(leaseHex(leaseId));
        expect(leaseHexOf(`${queue.key}nested/${leaseHex(leaseId)}`)).toBe(leaseHex(leaseId));
      }),
    );
    expect(leaseHexOf('locks/a/of someone')).toBe('of someone');
  });

  test('isExact() is false for a key that was not UTF-8', () => {
    expect(isExact('locks/a/ä😀')).toBe(true);
    expect(isExact(Buffer.from([0x6c, 0xff]).toString())).toBe(false);
  });

  test('headOf() and aheadOf() read only the entries that a decision needs', () => {
    const queue = queueRange('locks/', 'a');

    expect(headOf(queue)).toEqual({ ...queue, order: 'oldest', limit: 1, keysOnly: true });
    expect(aheadOf(queue, 1)).toEqual({ ...queue, order: 'newest', limit: 2, keysOnly: true });
    expect(aheadOf(queue, 1, 7n)).toEqual({ ...queue, order: 'newest', limit: 2, keysOnly: true, maxCreateRevision: 6n });
    expect(aheadOf(queue, 2, 7n)).toEqual({ ...queue, keysOnly: true, maxCreateRevision: 7n });
    expect(aheadOf(queue, Infinity)).toEqual({ ...queue, keysOnly: true });
  });

  test('byCreateRevision() sorts revisions above Number.MAX_SAFE_INTEGER', () => {
    const kvs = [2n ** 60n + 1n, 2n ** 60n, 3n].map((createRevision) => ({
      key: '',
      value: '',
      createRevision,
      modRevision: 0n,
      leaseId: '0',
    }));

    expect(kvs.sort(byCreateRevision).map(({ createRevision }) => createRevision)).toEqual([3n, 2n ** 60n, 2n ** 60n + 1n]);
  });
});
