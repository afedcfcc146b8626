/** The contract of `commit()`: compares, branches, atomicity and refusals. */
import assert from 'node:assert/strict';
import { LeaseNotFoundError } from '../../errors.ts';
import type { Operation } from '../../store/store.ts';
import { put, read, recordWatch, remove, type StoreTest, under, valuesOf, write } from './store-test.ts';

const deletions: readonly (readonly [how: string, deletion: (prefix: string) => Operation])[] = [
  ['by its key', (prefix) => remove(`${prefix}a/1`)],
  ['in a range', (prefix) => ({ delete: under(`${prefix}a`) })],
  ['in a range that begins with it', (prefix) => ({ delete: { key: `${prefix}a/1`, rangeEnd: `${prefix}a0` } })],
];

export const commitTests: Readonly<Record<string, StoreTest>> = {
  'commit() runs the branch that its compares choose, and returns the results of its ranges in order': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const [one, two] = [`${prefix}1`, `${prefix}2`];
    const transaction = {
      compare: [{ key: one, target: 'create', op: '=', revision: 0n }],
      then: [put(one, 'new', leaseId), { range: { key: one } }, { range: { key: two } }],
      otherwise: [{ range: { key: two } }, { range: { key: one } }],
    } as const;

    const first = await store.commit(transaction);
    const second = await store.commit(transaction);

    const kv = { key: one, value: 'new', createRevision: first.revision, modRevision: first.revision, leaseId };
    assert.deepEqual(first, { succeeded: true, revision: first.revision, ranges: [[kv], []] });
    assert.deepEqual(second, { succeeded: false, revision: second.revision, ranges: [[], [kv]] });
    assert.ok(second.revision >= first.revision);
  },

  'commit() compares create and mod revisions with =, < and >': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const key = `${prefix}1`;
    const { revision: create } = await write(store, put(key, '1', leaseId));
    const { revision: mod } = await write(store, put(key, '2', leaseId));
    const holds = async (target: 'create' | 'mod', op: '=' | '<' | '>', revision: bigint): Promise<boolean> =>
      (await store.commit({ compare: [{ key, target, op, revision }], then: [], otherwise: [] })).succeeded;

    assert.ok(mod > create);
    assert.deepEqual([await holds('create', '=', create), await holds('create', '=', mod)], [true, false]);
    assert.deepEqual([await holds('mod', '=', mod), await holds('mod', '=', create)], [true, false]);
    assert.deepEqual([await holds('create', '<', create), await holds('create', '<', create + 1n)], [false, true]);
    assert.deepEqual([await holds('mod', '<', mod), await holds('mod', '<', mod + 1n)], [false, true]);
    assert.deepEqual([await holds('mod', '>', mod), await holds('mod', '>', mod - 1n)], [false, true]);
    assert.deepEqual([await holds('create', '>', create), await holds('create', '>', 0n)], [false, true]);
    await write(store, remove(key));
    assert.equal(await holds('create', '>', 0n), false);
  },

  'commit() touches a key: its value and lease stay, and a watch reports a put': async (context) => {
    const { store, prefix, grant, until } = context;
    const leaseId = await grant();
    const [key, other] = [`${prefix}1`, `${prefix}2`];
    const { revision: create } = await write(store, put(key, 'v', leaseId), put(other, '', leaseId));
    const watch = await recordWatch(context, { key });

    const { revision } = await write(store, remove(other), { touch: { key } });

    const kv = { key, value: 'v', createRevision: create, modRevision: revision, leaseId };
    assert.deepEqual(await read(store, { key }), [kv]);
    assert.deepEqual([...(await store.leaseKeys(leaseId))], [key]);
    await until(() => {
      assert.deepEqual(watch.batches, [[{ type: 'put', kv }]]);
    });
    watch.stop();
  },

  'commit() applies nothing if it touches a key that is missing': async ({ store, prefix, grant }) => {
    const key = `${prefix}1`;
    await write(store, put(key, '', await grant()));

    await assert.rejects(write(store, remove(key), { touch: { key: `${prefix}2` } }), { code: 'ETCD_REFUSED' });

    assert.equal((await read(store, { key })).length, 1);
  },

  'commit() treats a compare over a range as true if it is true for each key, or if there is none': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const holds = async (op: '=' | '<', revision: bigint): Promise<boolean> =>
      (await store.commit({ compare: [{ ...under(`${prefix}a`), target: 'create', op, revision }], then: [], otherwise: [] })).succeeded;

    assert.deepEqual([await holds('=', 0n), await holds('<', 1n)], [true, true]);
    const { revision } = await write(store, put(`${prefix}a/1`, '', leaseId));
    await write(store, put(`${prefix}b/1`, '', leaseId), put(`${prefix}a`, '', leaseId));

    assert.equal(await holds('=', 0n), false);
    assert.deepEqual([await holds('<', revision), await holds('<', revision + 1n)], [false, true]);
  },

  'commit() reads the effect of its own earlier operations, and has one new revision': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const { revision: before } = await write(store, put(`${prefix}a/1`, 'old', leaseId));

    const operations = [remove(`${prefix}a/1`), put(`${prefix}a/2`, 'new', leaseId), { range: under(`${prefix}a`) }];
    const { revision, ranges } = await write(store, ...operations);

    assert.ok(revision > before);
    assert.deepEqual(ranges, [[{ key: `${prefix}a/2`, value: 'new', createRevision: revision, modRevision: revision, leaseId }]]);
  },

  'commit() applies nothing, and rejects with LeaseNotFoundError, when the lease of a put is gone': async ({ store, prefix, grant }) => {
    const [leaseId, dead] = [await grant(), await grant()];
    await store.revoke(dead);
    await write(store, put(`${prefix}a/1`, 'old', leaseId));

    const puts = [put(`${prefix}a/2`, '', leaseId), put(`${prefix}a/3`, '', dead)];
    await assert.rejects(write(store, remove(`${prefix}a/1`), ...puts), LeaseNotFoundError);
    await assert.rejects(write(store, { delete: under(`${prefix}a`) }, put(`${prefix}b`, '', dead)), LeaseNotFoundError);

    assert.deepEqual(valuesOf(await read(store, under(`${prefix}a`))), ['old']);
  },

  ...Object.fromEntries(
    deletions.map(([how, deletion]): [string, StoreTest] => [
      `commit() rejects, and applies nothing, if it puts a key that it deletes ${how}`,
      async ({ store, prefix, grant }) => {
        const leaseId = await grant();
        await write(store, put(`${prefix}a/1`, 'old', leaseId));

        await assert.rejects(write(store, deletion(prefix), put(`${prefix}a/1`, 'new', leaseId)), { code: 'ETCD_REFUSED' });

        assert.deepEqual(valuesOf(await read(store, { key: `${prefix}a/1` })), ['old']);
      },
    ]),
  ),

  'commit() clears a range around a key and puts that key, all or nothing, as a steal does': async (context) => {
    const { store, prefix, until } = context;
    const [victim, thief] = [await context.grant(), await context.grant()];
    const range = { ...under(`${prefix}a`), order: 'oldest' } as const;
    const [gate, key] = [`${prefix}@gate`, `${prefix}a/5`];
    const { revision: gateAt } = await write(store, put(gate, '', thief));
    for (const one of ['1', '9', '5\0', '5-shared']) await write(store, put(`${prefix}a/${one}`, '', victim));
    const around = [{ delete: { key: range.key, rangeEnd: key } }, { delete: { key: `${key}\0`, rangeEnd: range.rangeEnd } }];
    const steal = (revision: bigint) =>
      store.commit({
        compare: [{ key: gate, target: 'mod', op: '=', revision }],
        then: [...around, put(key, 'stolen', thief)],
        otherwise: [{ range: { key: gate } }],
      });
    const watch = await recordWatch(context, under(`${prefix}a`));

    const refused = await steal(gateAt - 1n);
    assert.deepEqual([refused.succeeded, refused.ranges[0]?.[0]?.modRevision], [false, gateAt]);
    assert.equal((await read(store, range)).length, 4);
    const done = await steal(gateAt);

    const kv = { key, value: 'stolen', createRevision: done.revision, modRevision: done.revision, leaseId: thief };
    assert.deepEqual(done, { succeeded: true, revision: done.revision, ranges: [] });
    assert.deepEqual(await read(store, range), [kv]);
    await until(() => {
      assert.equal(watch.batches.flat().length, 5);
    });
    assert.equal(watch.batches.length, 1);
    watch.stop();
    // The end of the lease of the victim does not delete the new entry.
    await store.revoke(victim);
    assert.deepEqual(await read(store, range), [kv]);
    assert.deepEqual([...(await store.leaseKeys(thief))].sort(), [gate, key].sort());
  },

  'commit() keeps every character of keys and values': async ({ store, prefix, grant }) => {
    const [key, value] = [`${prefix}ä😀\0"`, '{"ä":"😀\0"}\n'];

    await write(store, put(key, value, await grant()));

    assert.deepEqual(
      (await read(store, { key })).map((kv) => [kv.key, kv.value]),
      [[key, value]],
    );
  },
};
