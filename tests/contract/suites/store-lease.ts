/** Contract of leases: grant, renewal, keys and revocation. */
import { describe, expect, test } from 'vitest';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';
import { grantLease, put, read, remove, recordWatch, write } from './store-helpers.ts';

export function storeLeaseContract(open: OpenFixture): void {
  describe('leases', () => {
    test('revoke() deletes every key of the lease in one revision, and also resolves when the lease is gone', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      const { leaseId } = await grantLease(fixture);
      await write(store, put(`${prefix}a/1`, 'x', leaseId), put(`${prefix}a/2`, 'x', leaseId));
      const watch = await recordWatch(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0` });

      await store.revoke(leaseId);
      await store.revoke(leaseId);

      expect(await read(store, { key: `${prefix}a/`, rangeEnd: `${prefix}a0` })).toEqual([]);
      await fixture.until(() => {
        expect(watch.batches).toHaveLength(1);
      });
      expect(watch.batches[0]?.map(({ type }) => type)).toEqual(['delete', 'delete']);
      watch.stop();
    });

    test('leaseKeys() returns only the keys of the lease', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using mine = await grantLease(fixture);
      await using theirs = await grantLease(fixture);
      await write(store, put(`${prefix}1`, '', mine.leaseId), put(`${prefix}2`, '', mine.leaseId), put(`${prefix}3`, '', theirs.leaseId));
      await write(store, put(`${prefix}2`, '', theirs.leaseId));

      expect(await store.leaseKeys(mine.leaseId)).toEqual(new Set([`${prefix}1`]));
      expect(await store.leaseKeys(theirs.leaseId)).toEqual(new Set([`${prefix}2`, `${prefix}3`]));
      expect(await store.leaseKeys('1')).toEqual(new Set());
    });

    test('leaseRemainingMs() returns whole seconds, and null if the lease is gone', async () => {
      await using fixture = await open();
      const { store } = fixture;
      const { leaseId } = await grantLease(fixture, 30);

      await fixture.pass(1_100);
      const leftMs = (await store.leaseRemainingMs?.(leaseId)) ?? 0;

      expect(leftMs % 1_000).toBe(0);
      expect(leftMs).toBeGreaterThan(10_000);
      expect(leftMs).toBeLessThan(30_000);
      await store.revoke(leaseId);
      expect(await store.leaseRemainingMs?.(leaseId)).toBeNull();
    });

    test('renew() resolves with renewed and the current gate', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const gateKey = `${prefix}gate`;
      const { revision } = await write(store, put(gateKey, 'v', lease.leaseId));

      const renewal = await store.renew(lease.leaseId, gateKey, 2_000);

      const gate = { key: gateKey, value: 'v', createRevision: revision, modRevision: revision, leaseId: lease.leaseId };
      expect(renewal).toEqual({ renewed: true, gate });
      await write(store, remove(gateKey));
      expect(await store.renew(lease.leaseId, gateKey, 2_000)).toEqual({ renewed: true, gate: null });
    });

    test('renew() resolves with renewed false when the lease is gone', async () => {
      await using fixture = await open();
      const lease = await grantLease(fixture);
      await fixture.store.revoke(lease.leaseId);

      expect(await fixture.store.renew(lease.leaseId, `${fixture.prefix}gate`, 2_000)).toEqual({ renewed: false, gate: null });
    });

    test('a lease expires with its keys when it is not renewed', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      const { leaseId } = await grantLease(fixture, 2);
      await write(store, put(`${prefix}a`, '', leaseId));

      await fixture.pass(1_500);
      expect(await read(store, { key: `${prefix}a` })).toHaveLength(1);
      await fixture.pass(1_000);

      await fixture.until(async () => {
        expect(await read(store, { key: `${prefix}a` })).toEqual([]);
      });
      expect(await store.renew(leaseId, `${prefix}a`, 2_000)).toEqual({ renewed: false, gate: null });
    });
  });
}
