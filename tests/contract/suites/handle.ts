/** Contract of the lock handle: its state, setValue(), release() and the guard. */
import { LockReleasedError, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

async function guardedPut({ store, prefix }: LockerFixture, { guard: [key, , , revision] }: Lock): Promise<boolean> {
  const total = `${prefix}total`;
  const { succeeded } = await store.commit({
    compare: [{ key, target: 'create', op: '=', revision: BigInt(revision) }],
    then: [{ put: { key: total, value: '7', leaseId: '0' } }],
    otherwise: [],
  });
  await store.commit({ compare: [], then: [{ delete: { key: total } }], otherwise: [] });
  return succeeded;
}

export function handleContract(open: OpenFixture): void {
  describe('Lock', () => {
    test('Lock is held, and has its remaining time, when lock() resolves', async () => {
      await using fixture = await open();

      const lock = await fixture.createLocker({ ttlMs: 10_000 }).lock('a');

      expect(lock.held).toBe(true);
      expect(lock.remainingMs).toBeGreaterThan(8_000);
      expect(lock.remainingMs).toBeLessThanOrEqual(9_000);
      expect(lock.signal.aborted).toBe(false);
      expect(lock.signal).toBe(lock.signal);
      expect(() => {
        lock.throwIfLost();
      }).not.toThrow();
    });

    test('Lock is not held, and its signal does not abort, after release()', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');
      const { signal } = lock;

      await lock.release();

      expect(lock).toMatchObject({ held: false, remainingMs: 0 });
      expect(signal.aborted).toBe(false);
      expect(() => {
        lock.throwIfLost();
      }).toThrow(LockReleasedError);
      await locker.close();
      expect(signal.aborted).toBe(false);
    });

    test('Lock is not held as soon as release() is called', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a');

      const released = lock.release();

      expect(lock.held).toBe(false);
      await released;
    });

    test('release() resolves after the entry was deleted', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');

      await lock.release();

      expect(await fixture.entries('a')).toEqual([]);
      await expectFree(locker, 'a');
    });

    test('release() does not affect the next holder when it is called twice', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const first = await locker.lock('a');
      await first.release();
      const second = await locker.lock('a');

      await Promise.all([first.release(), first.release(), first[Symbol.asyncDispose]()]);

      await expectHolder(locker, second);
    });

    test('await using releases the lock when its block ends', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      {
        await using lock = await locker.lock('a');
        await expectHolder(locker, lock);
      }

      expect(await fixture.entries('a')).toEqual([]);
    });

    test('setValue() changes the value, and keeps the token', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a', { value: 'old' });
      const { fencingToken, key } = lock;

      await lock.setValue('new');

      expect(lock).toMatchObject({ value: 'new', fencingToken, key });
      await expectHolder(observer, lock);
    });

    test('setValue() sets the last value when it is called many times at once', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a');

      await Promise.all(Array.from({ length: 30 }, (_, index) => lock.setValue(`v${String(index)}`)));

      expect(lock.value).toBe('v29');
      expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['v29']);
    });

    test('setValue() rejects, and writes nothing, after release()', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a');
      await lock.release();

      expect(await errorOf(lock.setValue('late'))).toBeInstanceOf(LockReleasedError);

      expect(await fixture.entries('a')).toEqual([]);
    });

    test('setValue() rejects a value that is too long, and keeps the lock', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a', { value: 'small' });

      expect(await errorOf(lock.setValue('x'.repeat(65_537)))).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'value' }] });

      await lock.setValue('x'.repeat(65_536));
      await expectHolder(locker, lock);
    });

    test('guard admits a write only while the lock is held', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');

      expect(lock.guard).toEqual([lock.key, 'Create', '==', String(lock.fencingToken)]);
      expect(await guardedPut(fixture, lock)).toBe(true);
      await lock.setValue('changed');
      expect(await guardedPut(fixture, lock)).toBe(true);
      await lock.release();
      expect(await guardedPut(fixture, lock)).toBe(false);
      await using next = await locker.lock('a');
      expect(await guardedPut(fixture, lock)).toBe(false);
      expect(await guardedPut(fixture, next)).toBe(true);
    });
  });
}
