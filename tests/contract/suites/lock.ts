/** Contract of lock() and withLock(). */
import { LockerClosedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function lockContract(open: OpenFixture): void {
  describe('lock()', () => {
    test('lock() acquires a free lock, with its key, lease, value and token', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const lock = await locker.lock('orders/42', { value: 'me' });

      await expectHolder(fixture.createLocker(), lock);
      const [entry] = await fixture.entries('orders/42');
      expect(entry).toMatchObject({ key: lock.key, value: 'me', createRevision: lock.fencingToken, leaseId: lock.leaseId });
      expect(lock.key).toBe(`${fixture.prefix}orders%2F42/${BigInt(lock.leaseId).toString(16)}-1`);
      expect(lock).toMatchObject({ name: 'orders/42', mode: 'exclusive', value: 'me' });
    });

    test('lock() waits while another locker holds the lock, and gets it with a higher token', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker({ value: 'one' }), fixture.createLocker({ value: 'other' })];
      const first = await one.lock('a');
      const second = follow(other.lock('a'));
      await fixture.until(async () => {
        expect(await one.inspect('a')).toMatchObject({ waiters: [{ value: 'other' }] });
      });

      expect(second.isSettled).toBe(false);
      await expectHolder(other, first);
      await first.release();
      const lock = await second.promise;

      await expectHolder(one, lock);
      expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
    });

    test('lock() waits while another call of the same locker holds the lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const first = await locker.lock('a');
      const second = follow(locker.lock('a', { value: 'second' }));
      await fixture.pass(50);

      expect(second.isSettled).toBe(false);
      await first.release();
      const lock = await second.promise;

      await expectHolder(locker, lock);
      expect(lock.value).toBe('second');
      expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
    });

    test('lock() uses the value and the TTL of the locker by default', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker({ value: 'of the locker', ttlMs: 7_000 });

      const lock = await locker.lock('a');

      expect(lock.value).toBe('of the locker');
      expect(lock.remainingMs).toBeGreaterThan(4_000);
      expect(lock.remainingMs).toBeLessThanOrEqual(6_300);
    });

    test('lock() gets the lock when its foreign predecessor is deleted', async () => {
      await using fixture = await open();
      const foreign = `${fixture.prefix}a/694d8e8f`;
      await fixture.store.commit({ compare: [], then: [{ put: { key: foreign, value: '', leaseId: '0' } }], otherwise: [] });
      const locker = fixture.createLocker();
      const waiting = follow(locker.lock('a'));
      await fixture.until(async () => {
        expect(await locker.inspect('a')).toMatchObject({ holders: [{ key: foreign, foreign: true }], waiting: 1 });
      });

      expect(waiting.isSettled).toBe(false);
      await fixture.deleteKey(foreign);

      await expectHolder(locker, await waiting.promise);
    });

    test('each method works without its locker as `this`', async () => {
      await using fixture = await open();
      const { lock, tryLock, withLock, inspect, watch, close } = fixture.createLocker();

      const held = await lock('a');
      expect(await tryLock('a')).toBeNull();
      await expectHolder({ inspect }, held);
      const states = watch('a');
      expect(await states.next()).toMatchObject({ value: { held: true } });
      await held.release();
      expect(await withLock('a', ({ name }) => name)).toBe('a');
      await close();

      expect(await states.next()).toMatchObject({ done: true });
      expect(await errorOf(lock('a'))).toBeInstanceOf(LockerClosedError);
    });
  });

  describe('withLock()', () => {
    test('withLock() holds the lock while its function runs, and resolves with its result', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];

      const result = await locker.withLock('a', async (lock) => {
        await expectHolder(observer, lock);
        return 42;
      });

      expect(result).toBe(42);
      await expectFree(observer, 'a');
    });

    test('withLock() passes its options to lock()', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const value = await locker.withLock('a', { value: 'batch' }, async ({ name }) => (await locker.inspect(name)).holders[0]?.value);

      expect(value).toBe('batch');
    });

    test('withLock() rejects with the error of its function, and releases the lock, when it throws', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const failure = new Error('mine');

      const error = await errorOf(
        locker.withLock('a', () => {
          throw failure;
        }),
      );

      expect(error).toBe(failure);
      await expectFree(locker, 'a');
    });

    test('withLock() does not call its function when it does not get the lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await using holder = await locker.lock('a');
      let calls = 0;

      const error = await errorOf(locker.withLock('a', { timeoutMs: 0 }, () => (calls += 1)));

      expect(error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: holder.value });
      expect(calls).toBe(0);
    });
  });
}
