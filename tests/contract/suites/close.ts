/** Contract of close(): it rejects waiters, loses held locks, and leaves no entry. */
import { LockerClosedError, LockLostError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function closeContract(open: OpenFixture): void {
  describe('close()', () => {
    test('close() makes held locks lost with reason closed, and frees them at once', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a');
      const { signal } = lock;
      const waiting = follow(other.lock('a'));

      await locker.close();

      expect(signal.reason).toBeInstanceOf(LockLostError);
      expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'closed', lockName: 'a', fencingToken: lock.fencingToken });
      expect(lock).toMatchObject({ held: false, remainingMs: 0 });
      expect(() => {
        lock.throwIfLost();
      }).toThrow(LockLostError);
      const next = await waiting.promise;
      await expectHolder(other, next);
      expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    });

    test('close() rejects waiters in etcd and in the local queue, and leaves no entry', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a');
      const waiting = [errorOf(other.lock('a')), errorOf(other.lock('a')), errorOf(other.tryLock('a', { timeoutMs: 60_000 }))];
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      await other.close();

      for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(LockerClosedError);
      expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
    });

    test('close() revokes the leases of all its sessions', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await Promise.all([locker.lock('a'), locker.lock('b', { ttlMs: 20_000 })]);
      expect(await fixture.gates()).toHaveLength(2);

      await locker.close();

      expect(await fixture.gates()).toEqual([]);
      expect(await fixture.entries('a')).toEqual([]);
      expect(await fixture.entries('b')).toEqual([]);
    });

    test.each([0, 1, 2, 4, 8])('close() leaves no entry %i ticks after a lock() and a tryLock()', async (ticks) => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const calls = [follow(locker.lock('a')), follow(locker.tryLock('b'))];
      for (let tick = 0; tick < ticks; tick += 1) await new Promise((resolve) => setImmediate(resolve));

      await locker.close();

      for (const { promise } of calls) await promise.catch(() => undefined);
      for (const { value, error } of calls) {
        if (value === undefined) expect(error).toBeInstanceOf(LockerClosedError);
        else expect(value?.held).toBe(false);
      }
      expect(await fixture.gates()).toEqual([]);
      expect(await fixture.entries('a')).toEqual([]);
      expect(await fixture.entries('b')).toEqual([]);
    });

    test('each method rejects with LockerClosedError when the locker is closed', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      await locker.close();
      await locker.close();
      await locker[Symbol.asyncDispose]();

      const { lock, tryLock, withLock, inspect } = locker;
      const errors = await Promise.all([lock('a'), tryLock('a'), withLock('a', () => 1), inspect('a')].map(errorOf));
      for (const error of errors) expect(error).toBeInstanceOf(LockerClosedError);
      expect(() => locker.watch('a')).toThrow(LockerClosedError);
    });

    test('release() resolves when its locker was closed', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');

      await locker.close();

      expect(await errorOf(lock.release())).toBeUndefined();
      expect(await errorOf(lock.setValue('late'))).toBeInstanceOf(LockLostError);
    });

    test('close() waits for an earlier call of release()', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');
      const { signal } = lock;

      const released = errorOf(lock.release());
      await locker.close();

      expect(await released).toBeUndefined();
      expect(signal.aborted).toBe(false);
      expect(await fixture.entries('a')).toEqual([]);
    });
  });
}
