/** Contract of watch(): events of the store. */
import { describe, expect, test } from 'vitest';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';
import { grantLease, put, remove, recordWatch, write } from './store-helpers.ts';

export function storeWatchContract(open: OpenFixture): void {
  describe('watch()', () => {
    test('watch() reports the revision from which it is confirmed, and then every later put and delete', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const key = `${prefix}a`;
      const { revision: before } = await write(store, put(key, 'before', lease.leaseId));
      const watch = await recordWatch(fixture, { key });

      const { revision: changed } = await write(store, put(key, 'after', lease.leaseId));
      const { revision: deleted } = await write(store, remove(key));
      await write(store, put(`${key}b`, 'other', lease.leaseId));

      expect(watch.created[0]).toBeGreaterThanOrEqual(before);
      await fixture.until(() => {
        expect(watch.batches.flat()).toHaveLength(2);
      });
      expect(watch.batches.flat()).toMatchObject([
        { type: 'put', kv: { key, value: 'after', createRevision: before, modRevision: changed, leaseId: lease.leaseId } },
        { type: 'delete', kv: { key, value: '', modRevision: deleted } },
      ]);
      watch.stop();
    });

    test('watch() delivers all events of one revision in one call', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      await write(store, put(`${prefix}a/1`, '', lease.leaseId));
      const watch = await recordWatch(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0` });

      const { revision } = await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', lease.leaseId));

      await fixture.until(() => {
        expect(watch.batches).toHaveLength(1);
      });
      expect(watch.batches[0]?.map(({ type, kv }) => `${type} ${kv.key.at(-1) ?? ''} ${String(kv.modRevision)}`).sort()).toEqual([
        `delete 1 ${String(revision)}`,
        `put 2 ${String(revision)}`,
      ]);
      watch.stop();
    });

    test('watch() with deletesOnly reports only deletes', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const watch = await recordWatch(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0`, deletesOnly: true });

      await write(store, put(`${prefix}a/1`, '', lease.leaseId));
      await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', lease.leaseId));

      await fixture.until(() => {
        expect(watch.batches).not.toEqual([]);
      });
      expect(watch.batches.flat()).toMatchObject([{ type: 'delete', kv: { key: `${prefix}a/1` } }]);
      watch.stop();
    });

    test('watch() reports nothing after it was stopped, and other watches continue', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const [stopped, other] = [await recordWatch(fixture, { key: `${prefix}a` }), await recordWatch(fixture, { key: `${prefix}a` })];

      stopped.stop();
      stopped.stop();
      await write(store, put(`${prefix}a`, '', lease.leaseId));

      await fixture.until(() => {
        expect(other.batches).toHaveLength(1);
      });
      expect(stopped.batches).toEqual([]);
      other.stop();
    });
  });
}
