/** Contract of maxHoldMs and `renew: false`. */
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function limitContract(open: OpenFixture): void {
  describe('maxHoldMs and renew: false', () => {
    test("maxHoldMs ends the lock with reason 'max-hold', and the next waiter gets it", async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await one.lock('a', { maxHoldMs: 400 });
      const next = follow(other.lock('a'));
      expect(lock.remainingMs).toBeLessThanOrEqual(400);
      expect(lock.remainingMs).toBeGreaterThan(0);

      await fixture.pass(200);
      expect(lock.held).toBe(true);
      expect(lock.signal.aborted).toBe(false);
      await fixture.pass(200);
      await fixture.until(() => {
        expect(lock.signal.aborted).toBe(true);
      });

      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'max-hold', lockName: 'a', fencingToken: lock.fencingToken });
      expect(lock.held).toBe(false);
      expect(lock.remainingMs).toBe(0);
      await expectHolder(one, await next.promise);
      expect(await errorOf(lock.release())).toBeUndefined();
      expect(await errorOf(lock.setValue('late'))).toBe(lock.signal.reason);
      await expectHolder(one, await next.promise);
    });

    test('maxHoldMs hands over to the next call of the same locker', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const first = await locker.lock('a', { maxHoldMs: 100 });
      const second = follow(locker.lock('a'));

      await fixture.pass(100);
      const lock = await second.promise;

      expect(first.signal.reason).toMatchObject({ reason: 'max-hold' });
      expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
      await expectHolder(locker, lock);
    });

    test('maxHoldMs counts from the acquisition, and ends at the release', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a');
      const waiting = follow(other.lock('a', { maxHoldMs: 250 }));
      await fixture.pass(300);

      await holder.release();
      const lock = await waiting.promise;
      expect(lock.held).toBe(true);
      await lock.release();
      await fixture.pass(300);

      expect(lock.signal.aborted).toBe(false);
    });

    test('maxHoldMs applies to tryLock(), shared locks and semaphores', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const locks = await Promise.all([
        locker.tryLock('a', { maxHoldMs: 200 }),
        locker.lock('b', { maxHoldMs: 200, mode: 'shared' }),
        locker.tryLock('c', { maxHoldMs: 200, slots: 2 }),
      ]);

      await fixture.pass(200);

      await fixture.until(() => {
        expect(locks.map((lock) => lock?.held)).toEqual([false, false, false]);
      });
      await fixture.until(async () => {
        for (const name of ['a', 'b', 'c']) await expectFree(locker, name);
      });
    });

    test('maxHoldMs of lockAll() counts from the last acquisition, and ends all locks', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const b = await one.lock('b');
      const waiting = follow(other.lockAll(['a', 'b'], { maxHoldMs: 300 }));
      await fixture.pass(400);
      await b.release();
      const all = await waiting.promise;
      expect(all.held).toBe(true);
      expect(all.remainingMs).toBeLessThanOrEqual(300);

      await fixture.pass(300);

      await fixture.until(() => {
        expect(all.signal.reason).toMatchObject({ reason: 'max-hold' });
      });
      await fixture.until(async () => {
        await expectFree(one, 'a');
        await expectFree(one, 'b');
      });
    });

    test('renew: false makes a lock with its own lease, which expires after its TTL', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker({ ttlMs: 2_000 }), fixture.createLocker()];
      const renewed = await one.lock('renewed');

      const lock = await one.lock('a', { renew: false });
      const next = follow(other.lock('a'));
      expect(lock.leaseId).not.toBe(renewed.leaseId);
      expect(lock.held).toBe(true);
      expect(lock.remainingMs).toBeGreaterThan(1_000);
      await fixture.pass(2_100);

      expect(lock.held).toBe(false);
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
      await expectHolder(one, await next.promise);
      await expectHolder(one, renewed);
    });

    test('renew: false renews the lease while the call waits, and leaves nearly the whole TTL at the acquisition', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a');
      const waiting = follow(other.lock('a', { renew: false, ttlMs: 2_000 }));
      await fixture.pass(3_300);

      await holder.release();
      const lock = await waiting.promise;

      expect(lock.held).toBe(true);
      expect(lock.remainingMs).toBeGreaterThan(1_200);
      await expectHolder(one, lock);
      await fixture.pass(2_000);
      expect(lock.held).toBe(false);
    });

    test('renew: false leaves no lease after a release, a timeout or a busy tryLock()', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await other.lock('a', { renew: false });
      const tried = await other.tryLock('b', { renew: false });
      expect(await one.tryLock('a', { renew: false })).toBeNull();
      const late = follow(one.lock('a', { renew: false, timeoutMs: 100 }));
      await fixture.pass(100);
      expect(await errorOf(late.promise)).toMatchObject({ code: 'LOCK_TIMEOUT' });

      await Promise.all([lock.release(), tried?.release()]);

      await fixture.until(async () => {
        expect(await fixture.gates()).toEqual([]);
      });
    });

    test('renew: false of lockAll() and tryLockAll() makes one lease for all names', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const all = await locker.lockAll(['a', 'b'], { renew: false, ttlMs: 2_000 });
      const tried = await locker.tryLockAll(['c', 'd'], { renew: false, ttlMs: 2_000 });
      if (tried === null) return expect.unreachable('they are free');

      for (const { locks } of [all, tried]) expect(new Set(locks.map(({ leaseId }) => leaseId)).size).toBe(1);
      expect(all.locks[0]?.leaseId).not.toBe(tried.locks[0]?.leaseId);
      await fixture.pass(2_100);

      for (const { held, locks, signal } of [all, tried]) {
        expect(held).toBe(false);
        expect(signal.reason).toMatchObject({ reason: 'expired' });
        expect(locks.map((lock) => lock.held)).toEqual([false, false]);
      }
    });

    test('renew: false makes an entry that the next caller does not inherit', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a', { value: 'holder' });
      const controller = new AbortController();
      const aborted = follow(other.lock('a', { value: 'aborted', renew: false, signal: controller.signal }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const [, entry] = await fixture.entries('a');
      const next = follow(other.lock('a', { value: 'next' }));

      controller.abort();
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['holder', 'next']);
      });
      await holder.release();

      expect(aborted.isSettled).toBe(true);
      expect((await next.promise).leaseId).not.toBe(entry?.leaseId);
    });
  });
}
