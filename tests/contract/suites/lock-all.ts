/** Contract of lockAll() and tryLockAll(): all locks or none. */
import { LockLostError, LockReleasedError, type MultiLock } from 'etcd-locker';
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { errorOf, expectFree, expectHolder, expectHolders, follow } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

const namesOf = ({ locks }: MultiLock): string[] => locks.map(({ name }) => name);

const countOf = async (fixture: LockerFixture, ...names: string[]): Promise<number> =>
  (await Promise.all(names.map((name) => fixture.entries(name)))).flat().length;

export function lockAllContract(open: OpenFixture): void {
  describe('lockAll() and tryLockAll()', () => {
    test.each(['lockAll', 'tryLockAll'] as const)('%s() holds each distinct name once, in the order of the call', async (method) => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const all = await locker[method](new Set(['b', 'ä/1', 'a', '1']), { value: 'mine' });
      const twice = await fixture.createLocker()[method](['z', 'y', 'z', 'y', 'x']);

      if (all === null || twice === null) return expect.unreachable('the names must be free');
      expect(namesOf(all)).toEqual(['b', 'ä/1', 'a', '1']);
      expect(namesOf(twice)).toEqual(['z', 'y', 'x']);
      expect(all.held && !all.signal.aborted).toBe(true);
      expect(all.remainingMs).toBeCloseTo(Math.min(...all.locks.map(({ remainingMs }) => remainingMs)), -2);
      for (const lock of [...all.locks, ...twice.locks]) await expectHolder(locker, lock);
      expect(all.locks.map(({ value }) => value)).toEqual(['mine', 'mine', 'mine', 'mine']);
      await Promise.all([all.release(), all.release(), twice[Symbol.asyncDispose]()]);
      for (const name of ['1', 'a', 'ä/1', 'b', 'x', 'y', 'z']) await expectFree(locker, name);
      expect(all.held).toBe(false);
      expect(all.remainingMs).toBe(0);
      expect(all.signal.aborted).toBe(false);
      expect(() => {
        all.throwIfLost();
      }).toThrow(LockReleasedError);
    });

    test('lockAll() acquires names in the order of their keys, and holds the lower ones while it waits for the higher', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const b = await one.lock('b');
      const all = follow(other.lockAll(['c', 'b', 'a']));
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b')).toBe(3);
      });

      expect(await fixture.entries('c')).toEqual([]);
      expect(await one.tryLock('a')).toBeNull();
      await b.release();

      expect(namesOf(await all.promise)).toEqual(['c', 'b', 'a']);
    });

    test('tryLockAll() returns null, and leaves no entry, when one of the names is held', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const b = await one.lock('b');

      expect(await other.tryLockAll(['a', 'b', 'c'])).toBeNull();
      expect(await one.tryLockAll(['a', 'b', 'c'])).toBeNull();
      expect(await other.tryLockAll(['a', 'b', 'c'], { mode: 'shared' })).toBeNull();

      expect(await countOf(fixture, 'a', 'b', 'c')).toBe(1);
      await expectHolder(other, b);
    });

    test('tryLockAll() succeeds for only one of ten lockers with overlapping names', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 10 }, () => fixture.createLocker());

      const results = await Promise.all(lockers.map((locker, index) => locker.tryLockAll(['all', `own-${String(index)}`])));

      expect(results.filter((result) => result !== null)).toHaveLength(1);
      expect(await countOf(fixture, 'all', ...lockers.map((_, index) => `own-${String(index)}`))).toBe(2);
    });

    test('tryLockAll() creates all entries in one revision', async () => {
      await using fixture = await open();
      const all = await fixture.createLocker().tryLockAll(['a', 'b', 'c']);

      expect(new Set(all?.locks.map(({ fencingToken }) => fencingToken)).size).toBe(1);
    });

    test.each([[{ mode: 'shared' } as const], [{ slots: 2 }]])(
      'lockAll() and tryLockAll() with %j hold their locks together',
      async (options) => {
        await using fixture = await open();
        const [one, other] = [fixture.createLocker(), fixture.createLocker()];

        const first = await one.lockAll(['a', 'b'], options);
        const second = await other.tryLockAll(['b', 'a'], options);

        if (second === null) return expect.unreachable('the locks must be held together');
        const [a1, b1] = first.locks;
        const [b2, a2] = second.locks;
        if (a1 === undefined || a2 === undefined || b1 === undefined || b2 === undefined) return expect.unreachable();
        await expectHolders(one, a1, a2);
        await expectHolders(one, b1, b2);
        expect(await other.tryLockAll(['b', 'c'])).toBeNull();
        await Promise.all([first.release(), second.release()]);
        expect(await countOf(fixture, 'a', 'b')).toBe(0);
      },
    );

    test('tryLockAll() accepts a hundred names', async () => {
      await using fixture = await open();
      const names = Array.from({ length: 100 }, (_, index) => `n${String(index)}`);
      const locker = fixture.createLocker();

      for (const options of [{}, { mode: 'shared' }, { slots: 3 }] as const) {
        const all = await locker.tryLockAll([...names, ...names], options);
        expect(all?.locks).toHaveLength(100);
        expect(await fixture.createLocker().tryLockAll(['n7'])).toBeNull();
        await all?.release();
      }
      expect(await countOf(fixture, ...names)).toBe(0);
    });

    test('tryLockAll() rejects 101 names, and lockAll() accepts them', async () => {
      await using fixture = await open();
      const names = Array.from({ length: 101 }, (_, index) => `n${String(index)}`);
      const locker = fixture.createLocker();

      expect(await errorOf(locker.tryLockAll(names))).toMatchObject({
        code: 'INVALID_OPTIONS',
        message: expect.stringMatching(/at most 100 distinct names.* got 101/) as string,
      });
      expect(await errorOf(locker.tryLockAll(names, { timeoutMs: 100 }))).toMatchObject({ code: 'INVALID_OPTIONS' });
      const all = await locker.lockAll(names);

      expect(all.locks).toHaveLength(101);
      await all.release();
      expect(await countOf(fixture, ...names)).toBe(0);
    });

    test('tryLockAll() rejects a value that is too large for one transaction, and lockAll() accepts it', async () => {
      await using fixture = await open();
      const names = Array.from({ length: 40 }, (_, index) => `n${String(index)}`);
      const value = 'x'.repeat(64 * 1024);
      const locker = fixture.createLocker();

      expect(await errorOf(locker.tryLockAll(names, { value }))).toMatchObject({
        code: 'INVALID_OPTIONS',
        issues: [{ path: 'value', message: expect.stringMatching(/at most 38\d{3} bytes for 40 names.* got 65536 bytes/) as string }],
      });
      expect(await countOf(fixture, ...names)).toBe(0);
      const most = await locker.tryLockAll(names, { value: 'x'.repeat(38_000) });
      expect(most?.locks).toHaveLength(40);
      await most?.release();
      const all = await locker.lockAll(names, { value });

      expect(all.locks).toHaveLength(40);
      await all.release();
      expect(await countOf(fixture, ...names)).toBe(0);
    });

    test.each(['lockAll', 'tryLockAll'] as const)('%s() rejects any value that is not a list of names', async (method) => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      for (const wrong of [[], [''], ['a', 7], 'ab', undefined, 7, ['a', '\ud800']]) {
        expect(await errorOf(locker[method](wrong as string[]))).toMatchObject({ code: 'INVALID_OPTIONS' });
      }
      expect(await errorOf(locker[method](['a'], { mode: 'shared', slots: 2 } as never))).toMatchObject({ code: 'INVALID_OPTIONS' });
    });

    test('lockAll() rejects, and releases its locks, when its time is up', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const b = await one.lock('b', { value: 'in the way' });
      const all = follow(other.lockAll(['a', 'b', 'c'], { timeoutMs: 300 }));
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b')).toBe(3);
      });

      await fixture.pass(300);

      expect(await errorOf(all.promise)).toMatchObject({ code: 'LOCK_TIMEOUT', lockName: 'b', holder: 'in the way', timeoutMs: 300 });
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b', 'c')).toBe(1);
      });
      await expectHolder(one, b);
      const tried = follow(other.tryLockAll(['a', 'b'], { timeoutMs: 50 }));
      await fixture.pass(50);
      expect(await tried.promise).toBeNull();
    });

    test('lockAll() rejects with the reason, and releases its locks, when its signal aborts', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const b = await one.lock('b');
      const controller = new AbortController();
      const all = follow(other.lockAll(['a', 'b'], { signal: controller.signal }));
      const behind = follow(other.lock('a'));
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b')).toBe(3);
      });

      controller.abort(new Error('enough'));

      expect(await errorOf(all.promise)).toBe(controller.signal.reason);
      await expectHolder(one, await behind.promise);
      await fixture.until(() => expectHolder(other, b));
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    });

    test('lockAll() rejects, and leaves no entry, when its locker closes', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      await one.lock('b');
      const all = follow(other.lockAll(['a', 'b', 'c']));
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b')).toBe(3);
      });

      await other.close();

      expect(await errorOf(all.promise)).toMatchObject({ code: 'LOCKER_CLOSED' });
      expect(await countOf(fixture, 'a', 'b', 'c')).toBe(1);
    });

    test('lockAll() rejects with LockLostError, and releases its locks, when one is lost while it waits', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker({ ttlMs: 2_000 })];
      const c = await one.lock('c');
      const all = follow(other.lockAll(['a', 'b', 'c']));
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b', 'c')).toBe(4);
      });

      const [entry] = await fixture.entries('b');
      await fixture.deleteKey(entry?.key ?? '');
      await fixture.pass(900);

      expect(await errorOf(all.promise)).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted', lockName: 'b' });
      await fixture.until(async () => {
        expect(await countOf(fixture, 'a', 'b', 'c')).toBe(1);
      });
      await expectHolder(one, c);
    });

    test('the loss of one lock makes all locks lost and releases them to their waiters', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker({ ttlMs: 2_000 }), fixture.createLocker()];
      const all = await one.lockAll(['c', 'a', 'b']);
      const [local, remote] = [follow(one.lock('a')), follow(other.lock('c'))];
      await fixture.until(async () => {
        expect(await fixture.entries('c')).toHaveLength(2);
      });

      await fixture.deleteKey((await fixture.entries('b'))[0]?.key ?? '');
      await fixture.pass(900);
      await fixture.until(() => {
        expect(all.signal.aborted).toBe(true);
      });

      expect(all.held).toBe(false);
      expect(all.remainingMs).toBe(0);
      expect(all.signal.reason).toBeInstanceOf(LockLostError);
      expect(all.signal.reason).toMatchObject({ lockName: 'b', reason: 'deleted' });
      expect(all.locks.map(({ held, signal }) => [held, signal.aborted])).toEqual([
        [false, true],
        [false, true],
        [false, true],
      ]);
      expect(() => {
        all.throwIfLost();
      }).toThrow(all.signal.reason as Error);
      await expectHolder(other, await local.promise);
      await expectHolder(one, await remote.promise);
      expect(await errorOf(all.release())).toBeUndefined();
      expect((await local.promise).held && (await remote.promise).held).toBe(true);
    });

    test('release() of all locks hands each over to its waiter', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const all = await one.lockAll(['a', 'b', 'c']);
      const next = [follow(one.lock('a')), follow(other.lock('b')), follow(one.lockAll(['c', 'b']))] as const;
      await fixture.until(async () => {
        expect(await fixture.entries('b')).toHaveLength(2);
      });

      await all.release();

      await expectHolder(other, await next[0].promise);
      await expectHolder(one, await next[1].promise);
      expect(next[2].isSettled).toBe(false);
      await (await next[1].promise).release();
      expect((await next[2].promise).held).toBe(true);
    });

    test('release() of one lock keeps the others held', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const all = await locker.lockAll(['a', 'b']);
      const [a, b] = all.locks;
      if (a === undefined || b === undefined) return expect.unreachable();

      await a.release();

      await expectFree(locker, 'a');
      await expectHolder(locker, b);
      expect(all.held).toBe(false);
      expect(all.signal.aborted).toBe(false);
      await all.release();
      await expectFree(locker, 'b');
    });

    test('lockAll() does not deadlock when twenty clients request overlapping names in any order', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 5 }, () => fixture.createLocker());
      const names = ['a', 'b', 'c', 'd', 'e', 'f'];
      const held = new Map<string, number>();

      await Promise.all(
        Array.from({ length: 20 }, async (_, client) => {
          for (let round = 0; round < 3; round += 1) {
            const requested = names.filter((__, index) => (client * 7 + round * 5 + index * 3) % 4 < 2);
            if (client % 2 === 0) requested.reverse();
            await using all = await (lockers[client % 5] ?? fixture.createLocker()).lockAll(requested);
            for (const name of requested) {
              expect(held.has(name)).toBe(false);
              held.set(name, client);
            }
            await fixture.pass(1);
            expect(all.held).toBe(true);
            for (const name of requested) held.delete(name);
          }
        }),
      );
    });
  });
}
