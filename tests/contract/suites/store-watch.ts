import { describe, expect, test } from 'vitest';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';
import { grantLease, put, remove, watching, write } from './store-words.ts';

export function storeWatchContract(open: OpenFixture): void {
  describe('watch()', () => {
    test('watch() says from which revision it stands, then tells of every later put and delete', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const key = `${prefix}a`;
      const { revision: before } = await write(store, put(key, 'before', lease.leaseId));
      const told = await watching(fixture, { key });

      const { revision: changed } = await write(store, put(key, 'after', lease.leaseId));
      const { revision: deleted } = await write(store, remove(key));
      await write(store, put(`${key}b`, 'other', lease.leaseId));

      expect(told.created[0]).toBeGreaterThanOrEqual(before);
      await fixture.until(() => {
        expect(told.batches.flat()).toHaveLength(2);
      });
      expect(told.batches.flat()).toMatchObject([
        { type: 'put', kv: { key, value: 'after', createRevision: before, modRevision: changed, leaseId: lease.leaseId } },
        { type: 'delete', kv: { key, value: '', modRevision: deleted } },
      ]);
      told.stop();
    });

    test('watch() delivers what one revision did as one', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      await write(store, put(`${prefix}a/1`, '', lease.leaseId));
      const told = await watching(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0` });

      const { revision } = await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', lease.leaseId));

      await fixture.until(() => {
        expect(told.batches).toHaveLength(1);
      });
      expect(told.batches[0]?.map(({ type, kv }) => `${type} ${kv.key.at(-1) ?? ''} ${String(kv.modRevision)}`).sort()).toEqual([
        `delete 1 ${String(revision)}`,
        `put 2 ${String(revision)}`,
      ]);
      told.stop();
    });

    test('watch() tells of deletes alone when asked for deletesOnly', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const told = await watching(fixture, { key: `${prefix}a/`, rangeEnd: `${prefix}a0`, deletesOnly: true });

      await write(store, put(`${prefix}a/1`, '', lease.leaseId));
      await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', lease.leaseId));

      await fixture.until(() => {
        expect(told.batches).not.toEqual([]);
      });
      expect(told.batches.flat()).toMatchObject([{ type: 'delete', kv: { key: `${prefix}a/1` } }]);
      told.stop();
    });

    test('watch() tells nothing more when it was stopped, and others go on', async () => {
      await using fixture = await open();
      const { store, prefix } = fixture;
      await using lease = await grantLease(fixture);
      const [stopped, other] = [await watching(fixture, { key: `${prefix}a` }), await watching(fixture, { key: `${prefix}a` })];

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
