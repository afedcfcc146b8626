/** Contract of tryLock() for shared locks and semaphores. */
import type { LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { expectHolder, expectHolders, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

const shared: LockOptions = { mode: 'shared' };

export function tryKindContract(open: OpenFixture): void {
  describe('tryLock() of each kind', () => {
    test('tryLock() acquires a shared lock beside other shared locks', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a', shared);

      const second = await other.tryLock('a', shared);
      const third = await one.tryLock('a', shared);

      if (second === null || third === null) return expect.unreachable('shared locks must be held together');
      expect(second.mode).toBe('shared');
      await expectHolders(one, first, second, third);
    });

    test.each([
      [{}, shared],
      [shared, {}],
      [{ slots: 2 }, shared],
      [shared, { slots: 2 }],
      [{ slots: 2 }, { slots: 3 }],
      [{ slots: 2 }, {}],
    ] as [LockOptions, LockOptions][])(
      'tryLock() returns null, and leaves no entry, if a lock with %j is held and %j is requested',
      async (held, requested) => {
        await using fixture = await open();
        const [one, other] = [fixture.createLocker(), fixture.createLocker()];
        const holder = await one.lock('a', held);

        expect(await other.tryLock('a', requested)).toBeNull();
        expect(await one.tryLock('a', requested)).toBeNull();

        expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
      },
    );

    test('tryLock() acquires the last slot of a semaphore, and no more', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a', { slots: 2 });

      const second = await other.tryLock('a', { slots: 2 });

      if (second === null) return expect.unreachable('a slot must be free');
      expect(await other.tryLock('a', { slots: 2 })).toBeNull();
      expect(await fixture.createLocker().tryLock('a', { slots: 2 })).toBeNull();
      await expectHolders(one, first, second);
      await first.release();
      expect(await other.tryLock('a', { slots: 2 })).not.toBeNull();
    });

    test('tryLock() of a shared lock returns null if a writer waits', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const reader = await one.lock('a', shared);
      const writer = follow(other.lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      expect(await one.tryLock('a', shared)).toBeNull();
      expect(await other.tryLock('a', shared)).toBeNull();
      expect(await fixture.createLocker().tryLock('a', shared)).toBeNull();

      await reader.release();
      await expectHolder(one, await writer.promise);
    });

    test('tryLock() of twenty lockers at once acquires no more locks than slots', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 20 }, () => fixture.createLocker());

      const results = await Promise.all(lockers.map((locker) => locker.tryLock('a', { slots: 3 })));

      const locks = results.filter((result) => result !== null).sort((a, b) => Number(a.fencingToken - b.fencingToken));
      const [first, ...rest] = locks;
      if (first === undefined) return expect.unreachable('a slot must be free');
      expect(locks.length).toBeLessThanOrEqual(3);
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(locks.length);
      });
      await expectHolders(fixture.createLocker(), first, ...rest);
    });

    test('tryLock() of twenty lockers at once acquires all shared locks', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 20 }, () => fixture.createLocker());

      const results = await Promise.all(lockers.map((locker) => locker.tryLock('a', shared)));

      expect(results).not.toContain(null);
      expect((await fixture.createLocker().inspect('a')).holders).toHaveLength(20);
    });

    test('tryLock() with timeoutMs waits for a slot', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a', { slots: 2 });
      const second = await one.lock('a', { slots: 2 });
      const third = follow(other.tryLock('a', { slots: 2, timeoutMs: 10_000 }));
      const never = follow(one.tryLock('a', { timeoutMs: 200 }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(4);
      });

      await fixture.pass(200);
      expect(await never.promise).toBeNull();
      await second.release();

      const lock = await third.promise;
      if (lock === null) return expect.unreachable('the lock must be acquired in time');
      await fixture.until(() => expectHolders(one, first, lock));
    });
  });
}
