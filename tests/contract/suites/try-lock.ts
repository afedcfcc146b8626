/** Contract of tryLock(). */
import { describe, expect, test } from 'vitest';
import { errorOf, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function tryLockContract(open: OpenFixture): void {
  describe('tryLock()', () => {
    test('tryLock() acquires a free lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const lock = await locker.tryLock('a', { value: 'tried' });

      if (lock === null) return expect.unreachable('the lock must be free');
      expect(lock.value).toBe('tried');
      await expectHolder(locker, lock);
    });

    test('tryLock() returns null at once, and leaves no entry, when another locker holds the lock', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a');
      const locker = fixture.createLocker();

      const result = await locker.tryLock('a');

      expect(result).toBeNull();
      expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
    });

    test('tryLock() returns null at once when the same locker holds the lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const holder = await locker.lock('a');

      expect(await locker.tryLock('a')).toBeNull();

      await expectHolder(locker, holder);
    });

    test('tryLock() returns null when the lock was released and another call waits for it', async () => {
      await using fixture = await open();
      const foreign = `${fixture.prefix}a/1234`;
      await fixture.store.commit({ compare: [], then: [{ put: { key: foreign, value: '', leaseId: '0' } }], otherwise: [] });
      const locker = fixture.createLocker();
      const waiting = follow(fixture.createLocker().lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      expect(await locker.tryLock('a')).toBeNull();
      await fixture.deleteKey(foreign);
      const lock = await waiting.promise;

      expect(await locker.tryLock('a')).toBeNull();
      await expectHolder(locker, lock);
    });

    test('tryLock() acquires a released lock with a higher token', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a');
      await first.release();

      const second = await other.tryLock('a');

      if (second === null) return expect.unreachable('the lock must be free');
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
      await expectHolder(one, second);
    });

    test('tryLock() succeeds for only one of ten lockers at once', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 10 }, () => fixture.createLocker());

      const results = await Promise.all(lockers.map((locker) => locker.tryLock('a')));

      const [lock, ...rest] = results.filter((result) => result !== null);
      if (lock === undefined) return expect.unreachable('one of them must hold the lock');
      expect(rest).toEqual([]);
      await expectHolder(fixture.createLocker(), lock);
    });

    test('tryLock() with timeoutMs gets the lock when it is released in time', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a');
      const waiting = follow(other.tryLock('a', { timeoutMs: 10_000 }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      await first.release();
      const lock = await waiting.promise;

      if (lock === null) return expect.unreachable('the lock must be acquired in time');
      await expectHolder(one, lock);
    });

    test('tryLock() with timeoutMs returns null, and leaves no entry, when its time is up', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a');
      const waiting = follow(fixture.createLocker().tryLock('a', { timeoutMs: 300 }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      expect(waiting.isSettled).toBe(false);
      await fixture.pass(300);

      expect(await waiting.promise).toBeNull();
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
      });
    });

    test('tryLock() rejects with the reason, and leaves no entry, when its signal aborts during the call', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const reason = new Error('changed my mind');
      const controller = new AbortController();
      const result = errorOf(locker.tryLock('a', { signal: controller.signal }));

      controller.abort(reason);

      expect(await result).toBe(reason);
      await fixture.until(async () => {
        expect(await locker.tryLock('a')).not.toBeNull();
      });
    });
  });
}
