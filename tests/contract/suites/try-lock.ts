import { describe, expect, test } from 'vitest';
import { errorOf, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function tryLockContract(open: OpenFixture): void {
  describe('tryLock()', () => {
    test('tryLock() gives the lock when nobody has it', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const lock = await locker.tryLock('a', { value: 'tried' });

      if (lock === null) return expect.unreachable('it is free');
      expect(lock.value).toBe('tried');
      await expectHolder(locker, lock);
    });

    test('tryLock() answers null at once, and leaves no entry, when another locker has it', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a');
      const locker = fixture.createLocker();

      const answer = await locker.tryLock('a');

      expect(answer).toBeNull();
      expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
    });

    test('tryLock() answers null at once when the same locker has it', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const holder = await locker.lock('a');

      expect(await locker.tryLock('a')).toBeNull();

      await expectHolder(locker, holder);
    });

    test('tryLock() answers null when the lock was given back and another one waits for it', async () => {
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

    test('tryLock() gives the lock with a higher token when it was released', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a');
      await first.release();

      const second = await other.tryLock('a');

      if (second === null) return expect.unreachable('it was released');
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
      await expectHolder(one, second);
    });

    test('tryLock() gives it to one only when ten lockers try at once', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 10 }, () => fixture.createLocker());

      const answers = await Promise.all(lockers.map((locker) => locker.tryLock('a')));

      const [lock, ...rest] = answers.filter((answer) => answer !== null);
      if (lock === undefined) return expect.unreachable('one of them has it');
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

      if (lock === null) return expect.unreachable('there was time enough');
      await expectHolder(one, lock);
    });

    test('tryLock() with timeoutMs answers null, and leaves no entry, when the time is up', async () => {
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

    test('tryLock() rejects with the reason, and leaves no entry, when its signal aborts on the way', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const reason = new Error('changed my mind');
      const controller = new AbortController();
      const answer = errorOf(locker.tryLock('a', { signal: controller.signal }));

      controller.abort(reason);

      expect(await answer).toBe(reason);
      await fixture.until(async () => {
        expect(await locker.tryLock('a')).not.toBeNull();
      });
    });
  });
}
