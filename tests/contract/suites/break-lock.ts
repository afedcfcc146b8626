/** Contract of `breakLock()`: whom it removes, and what the removed holder, its process and the waiters notice. */
import { InvalidOptionsError, type Lock, LockerClosedError, LockLostError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

// The next beat is more than a minute away, so only the watch of the gate can report the loss in time.
const slowBeats = { ttlMs: 300_000 };

export function breakLockContract(open: OpenFixture): void {
  describe('breakLock()', () => {
    test('breakLock() removes the holder, which loses its lock at once, and the next waiter gets the lock', async () => {
      await using fixture = await open();
      const [locker, operator] = [fixture.createLocker(slowBeats), fixture.createLocker()];
      const [lock, bystander] = [await locker.lock('a', { value: 'hangs' }), await locker.lock('b')];
      const { signal } = lock;
      const waiting = follow(fixture.createLocker().lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      const removed = await operator.breakLock('a');
      await fixture.until(() => {
        expect(signal.aborted).toBe(true);
      });

      expect(removed).toMatchObject([{ key: lock.key, value: 'hangs', fencingToken: lock.fencingToken, foreign: false }]);
      expect(signal.reason).toBeInstanceOf(LockLostError);
      expect(signal.reason).toMatchObject({ reason: 'deleted', fencingToken: lock.fencingToken });
      expect(lock.held).toBe(false);
      const next = await waiting.promise;
      expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
      await expectHolder(operator, next);
      await lock.release();
      await expectHolder(operator, next);
      // The session of the removed holder goes on.
      await expectHolder(operator, bystander);
      await (await locker.lock('c')).release();
    });

    test('breakLock() of a free name removes nobody', async () => {
      await using fixture = await open();

      expect(await fixture.createLocker().breakLock('a')).toEqual([]);
    });

    test('breakLock() with fencingToken removes only the holder with this token', async () => {
      await using fixture = await open();
      const [one, other, operator] = [fixture.createLocker(slowBeats), fixture.createLocker(slowBeats), fixture.createLocker()];
      const [first, second] = [await one.lock('a', { slots: 2 }), await other.lock('a', { slots: 2 })];

      expect(await operator.breakLock('a', { fencingToken: second.fencingToken + 1n })).toEqual([]);
      const removed = await operator.breakLock('a', { fencingToken: second.fencingToken });
      await fixture.until(() => {
        expect(second.held).toBe(false);
      });

      expect(removed).toMatchObject([{ key: second.key }]);
      await expectHolder(operator, first);
    });

    test('breakLock() removes all readers, also those of one process and one revision', async () => {
      await using fixture = await open();
      const [one, operator] = [fixture.createLocker(slowBeats), fixture.createLocker()];
      const blocker = await operator.lock('a');
      const waiting = [1, 2, 3].map(() => follow(one.lock('a', { mode: 'shared' })));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(4);
      });
      await blocker.release();
      const readers: Lock[] = [];
      for (const { promise } of waiting) readers.push(await promise);

      const removed = await operator.breakLock('a');
      await fixture.until(() => {
        expect(readers.map(({ held }) => held)).toEqual([false, false, false]);
      });

      expect(removed.map(({ key }) => key).sort()).toEqual(readers.map(({ key }) => key).sort());
      await expectFree(operator, 'a');
    });

    test('breakLock() removes a foreign holder, and one whose session has no gate', async () => {
      await using fixture = await open();
      const operator = fixture.createLocker();
      const keys = [`${fixture.prefix}a/694d8e8f1b2c`, `${fixture.prefix}b/694d8e8f1b2c-1`];
      for (const key of keys) await fixture.store.commit({ compare: [], then: [{ put: { key, value: '', leaseId: '0' } }], otherwise: [] });

      const removed = [...(await operator.breakLock('a')), ...(await operator.breakLock('b'))];

      expect(removed).toMatchObject([
        { key: keys[0], foreign: true },
        { key: keys[1], foreign: false },
      ]);
      await expectFree(operator, 'a');
      await expectFree(operator, 'b');
    });

    test('breakLock() removes a holder of its own locker', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker(slowBeats);
      const lock = await locker.lock('a');
      const next = follow(locker.lock('a'));

      expect(await locker.breakLock('a')).toMatchObject([{ key: lock.key }]);

      expect((await next.promise).fencingToken).toBeGreaterThan(lock.fencingToken);
      expect(lock.held).toBe(false);
    });

    test('breakLock() rejects invalid arguments, and a closed locker', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      for (const options of [{ fencingToken: 7 }, { fencingToken: '7' }, { token: 7n }] as unknown as [object])
        expect(await errorOf(locker.breakLock('a', options))).toBeInstanceOf(InvalidOptionsError);
      expect(await errorOf(locker.breakLock(''))).toBeInstanceOf(InvalidOptionsError);
      await locker.close();

      expect(await errorOf(locker.breakLock('a'))).toBeInstanceOf(LockerClosedError);
    });
  });
}
