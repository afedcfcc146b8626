/** Contract of a loss: deleted entries and revoked leases. */
import { LockLostError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

// A beat comes within a third of the TTL.
const shortTtl = { ttlMs: 2_000 };

export function lossContract(open: OpenFixture): void {
  describe('loss', () => {
    test("Lock is lost with reason 'deleted' within a beat after another client deletes its key", async () => {
      await using fixture = await open();
      const locker = fixture.createLocker(shortTtl);
      const [lock, bystander] = await Promise.all([locker.lock('a'), locker.lock('b')]);

      await fixture.deleteKey(lock.key);
      await fixture.pass(900);
      await fixture.until(() => {
        expect(lock.held).toBe(false);
      });

      expect(lock.signal.reason).toBeInstanceOf(LockLostError);
      expect(lock.signal.reason).toMatchObject({ reason: 'deleted', lockName: 'a', fencingToken: lock.fencingToken });
      expect(await errorOf(lock.setValue('late'))).toBeInstanceOf(LockLostError);
      expect(await errorOf(lock.release())).toBeUndefined();
      await expectHolder(locker, bystander);
    });

    test("Lock is lost with reason 'deleted' when another client created its key again", async () => {
      await using fixture = await open();
      const locker = fixture.createLocker(shortTtl);
      const lock = await locker.lock('a');

      await fixture.deleteKey(lock.key);
      await fixture.store.commit({ compare: [], then: [{ put: { key: lock.key, value: 'theirs', leaseId: '0' } }], otherwise: [] });
      await fixture.pass(900);
      await fixture.until(() => {
        expect(lock.held).toBe(false);
      });
      await lock.release();

      expect(lock.signal.reason).toMatchObject({ reason: 'deleted' });
      expect(await fixture.entries('a')).toMatchObject([{ key: lock.key, value: 'theirs' }]);
      await fixture.deleteKey(lock.key);
    });

    test('setValue() detects the loss when the key was deleted', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a');
      const { signal } = lock;
      await fixture.deleteKey(lock.key);

      const error = await errorOf(lock.setValue('late'));

      expect(error).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
      expect(signal.reason).toBe(error);
      expect(await fixture.entries('a')).toEqual([]);
    });

    test('lock() serves the next local caller, with a higher token, when the holder lost its lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker(shortTtl);
      const lost = await locker.lock('a');
      const next = follow(locker.lock('a', { value: 'next' }));

      await fixture.deleteKey(lost.key);
      await fixture.pass(900);
      const lock = await next.promise;

      expect(lost.held).toBe(false);
      expect(lock.fencingToken).toBeGreaterThan(lost.fencingToken);
      await expectHolder(locker, lock);
      await lost.release();
      await expectHolder(locker, lock);
    });

    test('lock() enqueues again at the back of the queue when its entry was deleted', async () => {
      await using fixture = await open();
      const [one, other, third] = [fixture.createLocker(), fixture.createLocker(shortTtl), fixture.createLocker()];
      const holder = await one.lock('a', { value: 'holder' });
      const requeued = follow(other.lock('a', { value: 'requeued' }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const last = follow(third.lock('a', { value: 'last' }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(3);
      });
      const [, entry] = await fixture.entries('a');

      await fixture.deleteKey(entry?.key ?? '');
      await fixture.pass(900);
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['holder', 'last', 'requeued']);
      });
      await holder.release();

      await (await last.promise).release();
      await expectHolder(one, await requeued.promise);
    });

    test('a session whose lease was revoked loses its locks, and its waiters enqueue in a new session', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker(shortTtl)];
      const theirs = await one.lock('b', { value: 'theirs' });
      const mine = await other.lock('a');
      const waiting = follow(other.lock('b', { value: 'waits' }));
      await fixture.until(async () => {
        expect(await fixture.entries('b')).toHaveLength(2);
      });

      await fixture.store.revoke(mine.leaseId);
      await fixture.pass(900);
      await fixture.until(async () => {
        expect((await fixture.entries('b')).map(({ value }) => value)).toEqual(['theirs', 'waits']);
      });

      expect(mine.held).toBe(false);
      expect(mine.signal.reason).toMatchObject({ reason: 'expired', lockName: 'a' });
      await expectFree(one, 'a');
      expect(waiting.isSettled).toBe(false);
      await theirs.release();
      const lock = await waiting.promise;
      expect(lock.leaseId).not.toBe(mine.leaseId);
      await expectHolder(one, lock);
    });

    test('a lock stays held beyond its TTL while its process runs', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker(shortTtl).lock('a');

      await fixture.pass(3_500);

      expect(lock.signal.aborted).toBe(false);
      await expectHolder(fixture.createLocker(), lock);
      expect(lock.remainingMs).toBeGreaterThan(0);
    });
  });
}
