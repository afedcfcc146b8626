/** The contract of the ranges in a transaction: reads with conditions, reads of the past, and deletes. */
import assert from 'node:assert/strict';
import type { KeyValue, Range } from '../../store/store.ts';
import { put, read, recordWatch, remove, type StoreTest, under, valuesOf, write } from './store-test.ts';

const sameKeys = (kvs: readonly KeyValue[]): string => kvs.map(({ key }) => key.at(-1)).join('');

export const rangeTests: Readonly<Record<string, StoreTest>> = {
  'commit() reads ranges with order, limit, maxCreateRevision and keysOnly': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const range = under(`${prefix}a`);
    const created: bigint[] = [];
    for (const key of ['3', '1', '2']) created.push((await write(store, put(`${prefix}a/${key}`, `v${key}`, leaseId))).revision);
    const keys = async (more: Partial<Range>): Promise<string> => sameKeys(await read(store, { ...range, ...more }));

    assert.equal(await keys({}), '123');
    assert.equal(await keys({ order: 'oldest' }), '312');
    assert.equal(await keys({ order: 'newest' }), '213');
    assert.equal(await keys({ order: 'oldest', limit: 1 }), '3');
    assert.equal(await keys({ order: 'newest', limit: 2 }), '21');
    assert.equal(await keys({ order: 'newest', limit: 1, maxCreateRevision: (created[2] ?? 0n) - 1n }), '1');
    assert.equal(await keys({ order: 'newest', maxCreateRevision: created[1] ?? 0n }), '13');
    const [head] = await read(store, { ...range, order: 'oldest', limit: 1, keysOnly: true });
    assert.ok(head !== undefined);
    // etcd 3.7 leaves the lease out of such a range.
    assert.ok(['0', leaseId].includes(head.leaseId));
    assert.deepEqual(head, { key: `${prefix}a/3`, value: '', createRevision: created[0], modRevision: created[0], leaseId: head.leaseId });
  },

  'commit() reads a range as of an earlier revision, and refuses one of the future': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const { revision: first } = await write(store, put(`${prefix}a/1`, 'old', leaseId));
    const { revision: second } = await write(store, put(`${prefix}a/2`, 'two', leaseId));
    await write(store, put(`${prefix}a/1`, 'new', leaseId));
    const { revision: last } = await write(store, remove(`${prefix}a/2`));
    const values = async (revision: bigint): Promise<string[]> => valuesOf(await read(store, { ...under(`${prefix}a`), revision }));

    assert.deepEqual(
      [await values(first), await values(second), await values(second + 1n), await values(last)],
      [['old'], ['old', 'two'], ['new', 'two'], ['new']],
    );
    await assert.rejects(values(last + 100n), { code: 'ETCD_REFUSED', message: /required revision/ });
  },

  'commit() deletes exactly the keys of a range, in one revision': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    const inside = ['a/', 'a/1', 'a/1\0', 'a/\uffff', 'a/😀'].map((key) => `${prefix}${key}`);
    const outside = ['a', 'a.', 'a0', 'a00', 'b/1', '`/'].map((key) => `${prefix}${key}`);
    await write(store, ...[...inside, ...outside].map((key) => put(key, '', leaseId)));
    const watch = await recordWatch(context, { ...under(`${prefix}a`), deletesOnly: true });

    const { revision } = await write(store, { delete: under(`${prefix}a`) });
    await until(() => {
      assert.equal(watch.batches.flat().length, inside.length);
    });

    assert.deepEqual([...(await store.leaseKeys(leaseId))].sort(), [...outside].sort());
    for (const key of outside) assert.equal((await read(store, { key })).length, 1);
    for (const key of inside) assert.equal((await read(store, { key })).length, 0);
    assert.equal(watch.batches.length, 1, 'all events of one revision come in one call');
    assert.deepEqual([...new Set(watch.batches.flat().map(({ kv }) => kv.modRevision))], [revision]);
    assert.deepEqual(
      watch.batches
        .flat()
        .map(({ kv }) => kv.key)
        .sort(),
      [...inside].sort(),
    );
    watch.stop();
  },

  'commit() applies its other operations if the range to delete is empty': async ({ store, prefix, grant }) => {
    const leaseId = await grant();

    const { succeeded } = await write(store, { delete: under(`${prefix}a`) }, put(`${prefix}b`, 'v', leaseId));

    assert.equal(succeeded, true);
    assert.deepEqual(valuesOf(await read(store, { key: prefix, rangeEnd: `${prefix}~` })), ['v']);
  },
};
