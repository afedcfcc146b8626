/** Contract of `lock.wanted`: who makes it abort, and when it never does. */
import type { Lock, Locker } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, follow } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

/** The waiters of these tests end with `close()` of their lockers. */
const start = (waiting: Promise<unknown>): void => void errorOf(waiting);

async function expectQueued(fixture: LockerFixture, count: number): Promise<void> {
  await fixture.until(async () => {
    expect(await fixture.entries('a')).toHaveLength(count);
  });
}

/** Waits until a change that happens now would have been reported: a lock of another name is wanted by then. */
async function settle(fixture: LockerFixture, locker: Locker, other: Locker): Promise<void> {
  const control = await locker.lock('control');
  const { wanted } = control;
  start(other.lock('control'));
  await expectAborted(fixture, wanted);
  await control.release();
}

const expectAborted = (fixture: LockerFixture, signal: AbortSignal): Promise<void> =>
  fixture.until(() => {
    expect(signal.aborted).toBe(true);
  });

export function wantedContract(open: OpenFixture): void {
  describe('Lock.wanted', () => {
    test('aborts when another process queues up, with a reason that names the lock, and the lock stays held', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a');
      const { wanted } = lock;
      const aborts: unknown[] = [];
      wanted.addEventListener('abort', () => aborts.push(wanted.reason));
      expect([lock.wanted === wanted, wanted.aborted]).toEqual([true, false]);

      const waiting = follow(other.lock('a'));
      await expectAborted(fixture, wanted);

      expect(aborts).toMatchObject([{ name: 'AbortError', message: expect.stringContaining('lock "a"') as string }]);
      expect([lock.held, lock.signal.aborted, waiting.isSettled]).toEqual([true, false, false]);
      await lock.release();
      expect((await waiting.promise).wanted.aborted).toBe(false);
    });

    test('aborts if another process has queued up before the first read, and stays so when that one gives up', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a');
      const giveUp = new AbortController();
      start(other.lock('a', { signal: giveUp.signal }));
      await expectQueued(fixture, 2);

      const { wanted } = lock;
      await expectAborted(fixture, wanted);

      giveUp.abort();
      await expectQueued(fixture, 1);
      expect(lock.wanted.aborted).toBe(true);
    });

    test('aborts if another process queues up in the tick of the first read', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      await other.withLock('warm', () => undefined);
      const [lock, second] = [await locker.lock('a'), await locker.lock('b')];

      start(other.lock('a'));
      const { wanted } = lock;
      const later = second.wanted;
      start(other.lock('b'));

      await expectAborted(fixture, wanted);
      await expectAborted(fixture, later);
    });

    test.each(['before', 'after'])('aborts if a caller of this process waits: %s the first read', async (when) => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');
      const wanted = when === 'before' ? undefined : lock.wanted;

      start(locker.lock('a'));

      if (wanted === undefined) expect(lock.wanted.aborted).toBe(true);
      else await expectAborted(fixture, wanted);
      expect(await fixture.entries('a')).toHaveLength(1);
      expect(lock.held).toBe(true);
    });

    test('aborts for an entry of another program', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a');
      const { wanted } = lock;
      const key = `${fixture.prefix}a/77`;

      await fixture.store.commit({ compare: [], then: [{ put: { key, value: '', leaseId: '0' } }], otherwise: [] });
      await expectAborted(fixture, wanted);

      await fixture.deleteKey(key);
    });

    test('does not abort for a tryLock(), a new value, a reader of the state, or a lock of another name', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a');
      const { wanted } = lock;

      expect([await locker.tryLock('a'), await other.tryLock('a')]).toEqual([null, null]);
      await lock.setValue('new');
      await other.inspect('a');
      start(other.lock('a/b'));
      await (await other.lock('ab')).release();
      await settle(fixture, locker, other);

      expect(wanted.aborted).toBe(false);
    });

    test.each(['released', 'lost'])('does not abort once the lock is %s, and is not aborted if it is read then', async (end) => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const [lock, unread] = [await locker.lock('a'), await locker.lock('b')];
      const { wanted } = lock;
      const all: readonly Lock[] = [lock, unread];
      if (end === 'released') for (const one of all) await one.release();
      else {
        for (const { key } of all) await fixture.deleteKey(key);
        for (const one of all) await errorOf(one.setValue('lost'));
      }
      expect(all.map(({ held }) => held)).toEqual([false, false]);

      for (const name of ['a', 'b']) {
        await other.lock(name);
        start(locker.lock(name));
        start(fixture.createLocker().lock(name));
      }
      await settle(fixture, locker, other);

      expect([wanted, lock.wanted, unread.wanted].map(({ aborted }) => aborted)).toEqual([false, false, false]);
    });

    test('does not abort when the lock is released in the tick in which it is wanted', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const lock = await locker.lock('a');
      const { wanted } = lock;

      const next = locker.lock('a');
      await lock.release();

      expect((await next).held).toBe(true);
      expect(wanted.aborted).toBe(false);
    });

    test('does not abort when the locker is closed', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const { wanted, signal } = await locker.lock('a');

      await locker.close();

      expect([signal.aborted, wanted.aborted]).toEqual([true, false]);
    });

    test('reports the deletion of the entry by others at once, as a loss', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker({ ttlMs: 60_000 }).lock('a');
      const { wanted, signal } = lock;
      const other = fixture.createLocker();
      await settle(fixture, fixture.createLocker(), other);

      await fixture.deleteKey(lock.key);
      await expectAborted(fixture, signal);

      expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
      expect(wanted.aborted).toBe(false);
    });

    test('of a reader aborts for a writer, not for another reader', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a', { mode: 'shared' });
      const { wanted } = lock;
      for (const one of [locker, other]) await one.lock('a', { mode: 'shared' });
      await settle(fixture, locker, other);
      expect(wanted.aborted).toBe(false);

      start(other.lock('a'));

      await expectAborted(fixture, wanted);
    });

    test('of a semaphore aborts once its slots are taken, in all processes that hold one', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await locker.lock('a', { slots: 3 });
      const wanted = [first.wanted];
      for (const one of [locker, other]) wanted.push((await one.lock('a', { slots: 3 })).wanted);
      await settle(fixture, locker, other);
      expect(wanted.map(({ aborted }) => aborted)).toEqual([false, false, false]);

      start(other.lock('a', { slots: 3 }));

      for (const signal of wanted) await expectAborted(fixture, signal);
    });

    test('of a semaphore aborts if its own process has taken all slots and another caller waits', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const locks = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
      const wanted = locks.map((lock) => lock.wanted);

      start(locker.lock('a', { slots: 2 }));

      for (const signal of wanted) await expectAborted(fixture, signal);
    });

    test('of one of several names aborts for that name only', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const { locks } = await locker.lockAll(['a', 'b']);
      const [wanted, free] = [locks[0]?.wanted, locks[1]?.wanted];

      start(other.lock('a'));
      await fixture.until(() => {
        expect(wanted?.aborted).toBe(true);
      });

      expect(free?.aborted).toBe(false);
    });
  });
}
