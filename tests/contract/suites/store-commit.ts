/** Contract of commit(): compares, operations, ranges and atomicity. */
import { EtcdRefusedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { LeaseNotFoundError, type Operation, type Range } from '../../../src/store/store.ts';
import { buildClearing } from '../../../src/entry/transactions.ts';
import { errorOf } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';
import { grantLease, put, read, remove, recordWatch, write } from './store-helpers.ts';

export function storeCommitContract(open: OpenFixture): void {
  describe('commit()', () => {
    test('commit() runs the branch that its compares choose, and returns the results of its ranges in order', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const [one, two] = [`${prefix}1`, `${prefix}2`];
      const transaction = {
        compare: [{ key: one, target: 'create', op: '=', revision: 0n }],
        then: [put(one, 'new', lease.leaseId), { range: { key: one } }, { range: { key: two } }],
        otherwise: [{ range: { key: two } }, { range: { key: one } }],
      } as const;

      const first = await store.commit(transaction);
      const second = await store.commit(transaction);

      const kv = { key: one, value: 'new', createRevision: first.revision, modRevision: first.revision, leaseId: lease.leaseId };
      expect(first).toEqual({ succeeded: true, revision: first.revision, ranges: [[kv], []] });
      expect(second).toEqual({ succeeded: false, revision: expect.any(BigInt) as bigint, ranges: [[], [kv]] });
    });

    test('commit() compares create and mod revisions with =, < and >', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const key = `${prefix}1`;
      const { revision: create } = await write(store, put(key, '1', lease.leaseId));
      const { revision: mod } = await write(store, put(key, '2', lease.leaseId));
      const holds = async (target: 'create' | 'mod', op: '=' | '<' | '>', revision: bigint) =>
        (await store.commit({ compare: [{ key, target, op, revision }], then: [], otherwise: [] })).succeeded;

      expect(mod).toBeGreaterThan(create);
      expect([await holds('create', '=', create), await holds('create', '=', mod)]).toEqual([true, false]);
      expect([await holds('mod', '=', mod), await holds('mod', '=', create)]).toEqual([true, false]);
      expect([await holds('create', '<', create), await holds('create', '<', create + 1n)]).toEqual([false, true]);
      expect([await holds('mod', '<', mod), await holds('mod', '<', mod + 1n)]).toEqual([false, true]);
      expect([await holds('mod', '>', mod), await holds('mod', '>', mod - 1n)]).toEqual([false, true]);
      expect([await holds('create', '>', create), await holds('create', '>', 0n)]).toEqual([false, true]);
      await write(store, remove(key));
      expect(await holds('create', '>', 0n)).toBe(false);
    });

    test('commit() touches a key: its value and lease stay, and a watch reports a put', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const [key, other] = [`${prefix}1`, `${prefix}2`];
      const { revision: create } = await write(store, put(key, 'v', lease.leaseId), put(other, '', lease.leaseId));
      const watch = await recordWatch(fixture, { key });

      const { revision } = await write(store, remove(other), { touch: { key } });

      const kv = { key, value: 'v', createRevision: create, modRevision: revision, leaseId: lease.leaseId };
      expect(await read(store, { key })).toEqual([kv]);
      expect(await store.leaseKeys(lease.leaseId)).toEqual(new Set([key]));
      await fixture.until(() => {
        expect(watch.batches).toEqual([[{ type: 'put', kv }]]);
      });
      watch.stop();
    });

    test('commit() applies nothing if it touches a key that is missing', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const key = `${prefix}1`;
      await write(store, put(key, '', lease.leaseId));

      const error = await errorOf(write(store, remove(key), { touch: { key: `${prefix}2` } }));

      expect(error).toBeInstanceOf(EtcdRefusedError);
      expect(await read(store, { key })).toHaveLength(1);
    });

    test('commit() treats a compare over a range as true if it is true for each key, or if there is none', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0` };
      const isEmpty = async () =>
        (await store.commit({ compare: [{ ...range, target: 'create', op: '=', revision: 0n }], then: [], otherwise: [] })).succeeded;
      const isOlderThan = async (revision: bigint) =>
        (await store.commit({ compare: [{ ...range, target: 'create', op: '<', revision }], then: [], otherwise: [] })).succeeded;

      expect(await isEmpty()).toBe(true);
      expect(await isOlderThan(1n)).toBe(true);
      const { revision } = await write(store, put(`${prefix}a/1`, '', lease.leaseId));
      await write(store, put(`${prefix}b/1`, '', lease.leaseId), put(`${prefix}a`, '', lease.leaseId));

      expect(await isEmpty()).toBe(false);
      expect([await isOlderThan(revision), await isOlderThan(revision + 1n)]).toEqual([false, true]);
    });

    test('commit() reads ranges with order, limit, maxCreateRevision and keysOnly', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0` };
      const created: bigint[] = [];
      for (const key of ['3', '1', '2']) created.push((await write(store, put(`${prefix}a/${key}`, `v${key}`, lease.leaseId))).revision);
      const keys = async (more: Partial<Range>) => (await read(store, { ...range, ...more })).map(({ key }) => key.at(-1)).join('');

      expect(await keys({})).toBe('123');
      expect(await keys({ order: 'oldest' })).toBe('312');
      expect(await keys({ order: 'newest' })).toBe('213');
      expect(await keys({ order: 'oldest', limit: 1 })).toBe('3');
      expect(await keys({ order: 'newest', limit: 2 })).toBe('21');
      expect(await keys({ order: 'newest', limit: 1, maxCreateRevision: (created[2] ?? 0n) - 1n })).toBe('1');
      expect(await keys({ order: 'newest', maxCreateRevision: created[1] ?? 0n })).toBe('13');
      const [head] = await read(store, { ...range, order: 'oldest', limit: 1, keysOnly: true });
      // etcd 3.7 leaves the lease out of such a range.
      const leaseId = expect.toBeOneOf(['0', lease.leaseId]) as string;
      expect(head).toEqual({ key: `${prefix}a/3`, value: '', createRevision: created[0], modRevision: created[0], leaseId });
    });

    test('commit() reads a range as of an earlier revision, and refuses one of the future', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0` };
      const { revision: first } = await write(store, put(`${prefix}a/1`, 'old', lease.leaseId));
      const { revision: second } = await write(store, put(`${prefix}a/2`, 'two', lease.leaseId));
      await write(store, put(`${prefix}a/1`, 'new', lease.leaseId));
      const { revision: last } = await write(store, remove(`${prefix}a/2`));
      const values = async (revision: bigint) => (await read(store, { ...range, revision })).map(({ value }) => value);

      expect([await values(first), await values(second), await values(second + 1n), await values(last)]).toEqual([
        ['old'],
        ['old', 'two'],
        ['new', 'two'],
        ['new'],
      ]);
      await expect(values(last + 100n)).rejects.toMatchObject({
        code: 'ETCD_REFUSED',
        message: expect.stringContaining('required revision') as string,
      });
    });

    test('commit() reads the effect of its own earlier operations, and has one new revision', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0` };
      const { revision: before } = await write(store, put(`${prefix}a/1`, 'old', lease.leaseId));

      const { revision, ranges } = await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, 'new', lease.leaseId), { range });

      expect(revision).toBeGreaterThan(before);
      expect(ranges).toEqual([
        [{ key: `${prefix}a/2`, value: 'new', createRevision: revision, modRevision: revision, leaseId: lease.leaseId }],
      ]);
    });

    test('commit() applies nothing, and rejects with LeaseNotFoundError, when the lease of a put is gone', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const dead = await grantLease(fixture);
      await store.revoke(dead.leaseId);
      await write(store, put(`${prefix}a/1`, 'old', lease.leaseId));

      const operations = [remove(`${prefix}a/1`), put(`${prefix}a/2`, '', lease.leaseId), put(`${prefix}a/3`, '', dead.leaseId)];
      const error = await errorOf(write(store, ...operations));

      expect(error).toBeInstanceOf(LeaseNotFoundError);
      expect(await read(store, { key: `${prefix}a/`, rangeEnd: `${prefix}a0` })).toMatchObject([{ key: `${prefix}a/1`, value: 'old' }]);
    });

    test('commit() deletes exactly the keys of a range, in one revision', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const inside = ['a/', 'a/1', 'a/1\0', 'a/\uffff', 'a/😀'].map((key) => `${prefix}${key}`);
      const outside = ['a', 'a.', 'a0', 'a00', 'b/1', '`/'].map((key) => `${prefix}${key}`);
      await write(store, ...[...inside, ...outside].map((key) => put(key, '', lease.leaseId)));
      const watch = await recordWatch(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0`, deletesOnly: true });

      const { revision } = await write(store, { delete: { key: `${prefix}a/`, rangeEnd: `${prefix}a0` } });
      await fixture.until(() => {
        expect(watch.batches.flat()).toHaveLength(inside.length);
      });

      expect((await store.leaseKeys(lease.leaseId)).size).toBe(outside.length);
      for (const key of outside) expect(await read(store, { key })).toMatchObject([{ key }]);
      for (const key of inside) expect(await read(store, { key })).toEqual([]);
      // All events of one revision come in one batch.
      expect(watch.batches).toHaveLength(1);
      expect(new Set(watch.batches.flat().map(({ kv }) => kv.modRevision))).toEqual(new Set([revision]));
      expect(watch.batches.flat().map(({ kv }) => kv.key)).toEqual(expect.arrayContaining(inside));
      watch.stop();
    });

    test('commit() applies its other operations if the range to delete is empty', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);

      const { succeeded } = await write(
        store,
        { delete: { key: `${prefix}a/`, rangeEnd: `${prefix}a0` } },
        put(`${prefix}b`, '', lease.leaseId),
      );

      expect(succeeded).toBe(true);
      expect(await read(store, { key: prefix, rangeEnd: `${prefix}~` })).toMatchObject([{ key: `${prefix}b` }]);
    });

    test.each<[string, (prefix: string) => Operation[]]>([
      ['by its key', (prefix) => [remove(`${prefix}a/1`)]],
      ['in a range', (prefix) => [{ delete: { key: `${prefix}a/`, rangeEnd: `${prefix}a0` } }]],
      ['in a range that begins with it', (prefix) => [{ delete: { key: `${prefix}a/1`, rangeEnd: `${prefix}a0` } }]],
    ])('commit() rejects, and applies nothing, if it puts a key that it deletes %s', async (_, deletion) => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      await write(store, put(`${prefix}a/1`, 'old', lease.leaseId));

      const error = await errorOf(write(store, ...deletion(prefix), put(`${prefix}a/1`, 'new', lease.leaseId)));

      expect(error).toBeInstanceOf(EtcdRefusedError);
      expect(await read(store, { key: `${prefix}a/1` })).toMatchObject([{ value: 'old' }]);
    });

    test('commit() clears a range around a key and puts that key, all or nothing, as a steal does', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using victim = await grantLease(fixture);
      await using thief = await grantLease(fixture);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0`, order: 'oldest' } as const;
      const [gate, key] = [`${prefix}@gate`, `${prefix}a/5`];
      const { revision: gateAt } = await write(store, put(gate, '', thief.leaseId));
      for (const one of ['1', '9', '5\0', '5-shared']) await write(store, put(`${prefix}a/${one}`, '', victim.leaseId));
      const steal = (revision: bigint) =>
        store.commit({
          compare: [{ key: gate, target: 'mod', op: '=', revision }],
          then: [...buildClearing({ queue: range, key, slots: 1 }), put(key, 'stolen', thief.leaseId)],
          otherwise: [{ range: { key: gate } }],
        });
      const watch = await recordWatch(fixture, { key: range.key, rangeEnd: range.rangeEnd });

      const refused = await steal(gateAt - 1n);
      expect(refused).toMatchObject({ succeeded: false, ranges: [[{ modRevision: gateAt }]] });
      expect(await read(store, range)).toHaveLength(4);
      const done = await steal(gateAt);

      const kv = { key, value: 'stolen', createRevision: done.revision, modRevision: done.revision, leaseId: thief.leaseId };
      expect(done).toEqual({ succeeded: true, revision: done.revision, ranges: [] });
      expect(await read(store, range)).toEqual([kv]);
      await fixture.until(() => {
        expect(watch.batches.flat()).toHaveLength(5);
      });
      expect(watch.batches).toHaveLength(1);
      watch.stop();
      // The end of the lease of the victim does not delete the new entry.
      await store.revoke(victim.leaseId);
      expect(await read(store, range)).toEqual([kv]);
      expect(await store.leaseKeys(thief.leaseId)).toEqual(new Set([gate, key]));
    });

    test('commit() deletes no range when the lease of a put is gone', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const dead = await grantLease(fixture);
      await store.revoke(dead.leaseId);
      const range = { key: `${prefix}a/`, rangeEnd: `${prefix}a0` };
      await write(store, put(`${prefix}a/1`, 'old', lease.leaseId));

      const clearing = buildClearing({ queue: range, key: `${prefix}a/2`, slots: 1 });
      const error = await errorOf(write(store, ...clearing, put(`${prefix}a/2`, '', dead.leaseId)));

      expect(error).toBeInstanceOf(LeaseNotFoundError);
      expect(await read(store, range)).toMatchObject([{ key: `${prefix}a/1`, value: 'old' }]);
    });

    test('commit() keeps every character of keys and values', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const [key, value] = [`${prefix}ä😀\0"`, '{"ä":"😀\0"}\n'];

      await write(store, put(key, value, lease.leaseId));

      expect(await read(store, { key })).toMatchObject([{ key, value }]);
    });
  });
}
