/** The contract of leases: grant, renewal, keys and revocation. */
import assert from 'node:assert/strict';
import { put, read, recordWatch, remove, type StoreTest, under, write } from './store-test.ts';

export const leaseTests: Readonly<Record<string, StoreTest>> = {
  'revoke() deletes every key of the lease in one revision, and also resolves when the lease is gone': async (context) => {
    const { store, prefix } = context;
    const leaseId = await context.grant();
    await write(store, put(`${prefix}a/1`, 'x', leaseId), put(`${prefix}a/2`, 'x', leaseId));
    const watch = await recordWatch(context, under(`${prefix}a`));

    await store.revoke(leaseId);
    await store.revoke(leaseId);

    assert.deepEqual(await read(store, under(`${prefix}a`)), []);
    await context.until(() => {
      assert.equal(watch.batches.length, 1);
    });
    assert.deepEqual(
      watch.batches[0]?.map(({ type }) => type),
      ['delete', 'delete'],
    );
    watch.stop();
  },

  'leaseKeys() returns only the keys of the lease': async ({ store, prefix, grant }) => {
    const [mine, theirs] = [await grant(), await grant()];
    await write(store, put(`${prefix}1`, '', mine), put(`${prefix}2`, '', mine), put(`${prefix}3`, '', theirs));
    await write(store, put(`${prefix}2`, '', theirs));

    assert.deepEqual([...(await store.leaseKeys(mine))], [`${prefix}1`]);
    assert.deepEqual([...(await store.leaseKeys(theirs))].sort(), [`${prefix}2`, `${prefix}3`]);
    assert.deepEqual([...(await store.leaseKeys('1'))], []);
  },

  'leaseRemainingMs() returns whole seconds, and null if the lease is gone': async ({ store, grant, pass }) => {
    if (store.leaseRemainingMs === undefined) return; // optional
    const leaseId = await grant(30);

    await pass(1_100);
    const leftMs = (await store.leaseRemainingMs(leaseId)) ?? 0;

    assert.equal(leftMs % 1_000, 0);
    assert.ok(leftMs > 10_000 && leftMs < 30_000, String(leftMs));
    await store.revoke(leaseId);
    assert.equal(await store.leaseRemainingMs(leaseId), null);
  },

  'renew() resolves with renewed and the current gate': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    const key = `${prefix}gate`;
    const { revision } = await write(store, put(key, 'v', leaseId));

    const gate = { key, value: 'v', createRevision: revision, modRevision: revision, leaseId };
    assert.deepEqual(await store.renew(leaseId, key, 2_000), { renewed: true, gate });
    await write(store, remove(key));
    assert.deepEqual(await store.renew(leaseId, key, 2_000), { renewed: true, gate: null });
  },

  'renew() resolves with renewed false when the lease is gone': async ({ store, prefix, grant }) => {
    const leaseId = await grant();
    await store.revoke(leaseId);

    assert.deepEqual(await store.renew(leaseId, `${prefix}gate`, 2_000), { renewed: false, gate: null });
  },

  'a lease expires with its keys when it is not renewed': async ({ store, prefix, grant, pass, until }) => {
    const [leaseId, renewed] = [await grant(2), await grant(2)];
    await write(store, put(`${prefix}a`, '', leaseId), put(`${prefix}b`, '', renewed));

    await pass(1_500);
    assert.equal((await read(store, { key: `${prefix}a` })).length, 1);
    await store.renew(renewed, `${prefix}gate`, 2_000);
    await pass(1_000);

    await until(async () => {
      assert.deepEqual(await read(store, { key: `${prefix}a` }), []);
      await store.renew(renewed, `${prefix}gate`, 2_000);
    });
    assert.equal((await read(store, { key: `${prefix}b` })).length, 1);
    assert.deepEqual(await store.renew(leaseId, `${prefix}a`, 2_000), { renewed: false, gate: null });
  },
};
