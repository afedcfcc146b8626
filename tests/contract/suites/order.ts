/** Contract of the order: callers are served first come, first served. */
import type { Lock, Locker, LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { expectHolder, follow, type Followed } from '../../support/fixtures/holding.ts';
import { queueRange } from '../../../src/keys.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

/** Calls lock() for 'a', and waits until its entry is in the queue. */
async function enqueue(fixture: LockerFixture, locker: Locker, value: string): Promise<Followed<Lock>> {
  const waiting = follow(locker.lock('a', { value }));
  await fixture.until(async () => {
    expect((await fixture.entries('a')).map((entry) => entry.value)).toContain(value);
  });
  return waiting;
}

/** Records the events of the queue from now on, with their revisions. */
async function watchQueue(fixture: LockerFixture): Promise<Disposable & { readonly seen: readonly string[] }> {
  const seen: string[] = [];
  let isCreated = false;
  const stop = fixture.store.watch(queueRange(fixture.prefix, 'a'), {
    created: () => (isCreated = true),
    events: (events) => seen.push(...events.map(({ type, kv }) => `${type} ${kv.key} ${String(kv.modRevision)}`)),
  });
  await fixture.until(() => {
    expect(isCreated).toBe(true);
  });
  return { seen, [Symbol.dispose]: stop };
}

/** Waits for each lock, asserts that it is the only holder, and releases it. Resolves with the values in the order of holding. */
async function holdOneByOne(fixture: LockerFixture, waiting: readonly Promise<Lock>[]): Promise<string[]> {
  const observer = fixture.createLocker();
  const order: { value: string; token: bigint }[] = [];
  let holding = 0;
  await Promise.all(
    waiting.map(async (promise) => {
      const lock = await promise;
      order.push({ value: lock.value, token: lock.fencingToken });
      holding += 1;
      expect(holding).toBe(1);
      await expectHolder(observer, lock);
      holding -= 1;
      await lock.release();
    }),
  );
  const tokens = order.map(({ token }) => token);
  expect(tokens).toEqual([...tokens].sort((a, b) => Number(a - b)));
  expect(new Set(tokens).size).toBe(tokens.length);
  return order.map(({ value }) => value);
}

/** The values of all entries of 'a', in the order of the queue. */
async function queueOf(locker: Locker): Promise<string[]> {
  const { holders, waiters } = await locker.inspect('a');
  return [...holders, ...waiters].map(({ value }) => value);
}

/** Calls lock() for 'a' once for each of `options`, in one tick. Each value is the index of its call. */
function lockInOneTick(locker: Locker, options: readonly LockOptions[]): { readonly calls: Promise<Lock>[]; readonly resolved: string[] } {
  const resolved: string[] = [];
  const calls = options.map(async (one, index) => {
    const lock = await locker.lock('a', { ...one, value: String(index) });
    resolved.push(lock.value);
    return lock;
  });
  return { calls, resolved };
}

const inOrder = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
const releaseAll = (locks: readonly Lock[]): Promise<unknown> => Promise.all(locks.map((lock) => lock.release()));

const shared: LockOptions = { mode: 'shared' };
const threeSlots: LockOptions = { slots: 3 };

export function orderContract(open: OpenFixture): void {
  describe.each([
    ['shared locks', shared],
    ['semaphores', threeSlots],
  ])('order of %s of one locker', (_, kind) => {
    test('lock() creates their entries, and resolves, in the order of the calls', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      for (let round = 0; round < 100; round += 1) {
        const { calls, resolved } = lockInOneTick(locker, [kind, kind, kind]);
        const locks = await Promise.all(calls);

        expect(resolved).toEqual(inOrder(3));
        expect(await queueOf(locker)).toEqual(inOrder(3));
        await releaseAll(locks);
      }
    });

    test('lock() resolves in the order of the calls when they have waited for a lock of another kind', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      for (let round = 0; round < fixture.times(100) && round < 30; round += 1) {
        const writer = await other.lock('a');
        const { calls, resolved } = lockInOneTick(locker, [kind, kind, kind]);
        await fixture.until(async () => {
          expect(await queueOf(locker)).toHaveLength(4);
        });
        await writer.release();
        const locks = await Promise.all(calls);

        expect(resolved).toEqual(inOrder(3));
        await releaseAll(locks);
      }
    });

    test('a call that finds the lock free does not resolve before an earlier one that waited', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      for (let round = 0; round < 20; round += 1) {
        const writer = await other.lock('a');
        const resolved: number[] = [];
        const call = async (index: number): Promise<Lock> => {
          const lock = await locker.lock('a', kind);
          resolved.push(index);
          return lock;
        };
        const waiting = call(0);
        await fixture.until(async () => {
          expect(await queueOf(locker)).toHaveLength(2);
        });
        // The response to its creation may come before the news of the release.
        const releasing = writer.release();
        const locks = await Promise.all([waiting, call(1)]);
        await releasing;

        expect(resolved).toEqual([0, 1]);
        await releaseAll(locks);
      }
    });
  });

  describe('order of all kinds of one locker', () => {
    test.each([false, true])('lock() creates entries in the order of the calls; with an open session: %s', async (isWarm) => {
      await using fixture = await open();
      const other = fixture.createLocker();
      const kinds = [shared, shared, {}, shared, threeSlots, threeSlots, shared, { slots: 2 }, { slots: 2, ttlMs: 30_000 }, shared, shared];
      for (let round = 0; round < 5; round += 1) {
        const holder = await other.lock('a', { value: 'holder' });
        const locker = fixture.createLocker();
        if (isWarm) await locker.lock('warm');
        const { calls, resolved } = lockInOneTick(locker, kinds);
        const served = Promise.all(calls.map(async (call) => (await call).release()));
        await fixture.until(async () => {
          expect(await queueOf(other)).toHaveLength(1 + kinds.length);
        });

        expect(await queueOf(other)).toEqual(['holder', ...inOrder(kinds.length)]);
        await holder.release();
        await served;
        expect(resolved).toEqual(inOrder(kinds.length));
        await locker.close();
      }
    });

    test('lock() creates entries in the order of the calls when they need two sessions', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const count = 1_010;
      const { calls, resolved } = lockInOneTick(
        locker,
        Array.from({ length: count }, () => shared),
      );

      const locks = await Promise.all(calls);

      expect(resolved).toEqual(inOrder(count));
      expect(await queueOf(other)).toEqual(inOrder(count));
      expect(new Set(locks.map(({ leaseId }) => leaseId)).size).toBe(2);
      await releaseAll(locks);
    });

    test.each([
      ['shared locks', shared],
      ['a semaphore', threeSlots],
    ])('a tryLock() between two lock() calls is created between them: %s', async (_, kind) => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      for (let round = 0; round < fixture.times(60) && round < 60; round += 1) {
        const resolved: string[] = [];
        const calls = [
          locker.lock('a', { ...kind, value: '0' }),
          locker.tryLock('a', { ...kind, value: '1' }),
          locker.lock('a', { ...kind, value: '2' }),
        ].map(async (call) => {
          const lock = await call;
          if (lock !== null) resolved.push(lock.value);
          return lock;
        });
        const locks = await Promise.all(calls);

        expect(await queueOf(locker)).toEqual(inOrder(3));
        expect(resolved).toEqual(inOrder(3));
        await releaseAll(locks.filter((lock) => lock !== null));
      }
    });

    test('a tryLock() gets a free lock before a later lock() of the same tick', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      for (let round = 0; round < 20; round += 1) {
        const tried = locker.tryLock('a');
        const later = locker.lock('a');

        const first = await tried;
        expect(first?.held).toBe(true);
        await first?.release();
        await (await later).release();
      }
    });

    test('hand-overs of one tick create their entries in the order of the calls', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      for (let round = 0; round < 20; round += 1) {
        const { calls, resolved } = lockInOneTick(
          locker,
          Array.from({ length: 9 }, () => threeSlots),
        );
        const first = await Promise.all(calls.slice(0, 3));
        await releaseAll(first);
        const second = await Promise.all(calls.slice(3, 6));

        expect(resolved).toEqual(inOrder(6));
        expect(await queueOf(other)).toEqual(['3', '4', '5']);
        await releaseAll(second);
        await releaseAll(await Promise.all(calls.slice(6)));
        expect(resolved).toEqual(inOrder(9));
      }
    });
  });

  describe('order', () => {
    test('lock() serves two lockers in the order of their calls', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a', { value: '0' });
      const second = await enqueue(fixture, other, '1');
      await expectHolder(one, holder);
      expect(second.isSettled).toBe(false);

      await holder.release();
      const third = one.lock('a', { value: '2' });

      expect(await holdOneByOne(fixture, [second.promise, third])).toEqual(['1', '2']);
    });

    test('lock() serves four waiting lockers in the order of their calls', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a');
      const waiting: Followed<Lock>[] = [];
      for (const value of ['1', '2', '3', '4']) waiting.push(await enqueue(fixture, fixture.createLocker(), value));

      const served = holdOneByOne(
        fixture,
        waiting.map(({ promise }) => promise),
      );
      await holder.release();

      expect(await served).toEqual(['1', '2', '3', '4']);
    });

    test('lock() serves twenty calls of one locker in their order', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const values = Array.from({ length: 20 }, (_, index) => String(index));

      const served = holdOneByOne(
        fixture,
        values.map((value) => locker.lock('a', { value })),
      );

      expect(await served).toEqual(values);
    });

    test('lock() has one entry in etcd for all waiting calls of one locker', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const holder = await fixture.createLocker().lock('a', { value: 'holder' });
      const first = await enqueue(fixture, locker, 'first');
      const second = follow(locker.lock('a', { value: 'second' }));
      await fixture.pass(50);

      expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['holder', 'first']);

      await holder.release();
      expect(await holdOneByOne(fixture, [first.promise, second.promise])).toEqual(['first', 'second']);
    });

    test('release() lets a waiter of another process go before the next local caller', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a', { value: 'one 1' });
      const own = [follow(one.lock('a', { value: 'one 2' })), follow(one.lock('a', { value: 'one 3' }))];
      const theirs = [await enqueue(fixture, other, 'other 1'), follow(other.lock('a', { value: 'other 2' }))];
      await expectHolder(one, holder);
      expect([...own, ...theirs].some(({ isSettled }) => isSettled)).toBe(false);
      const served = holdOneByOne(
        fixture,
        [...own, ...theirs].map(({ promise }) => promise),
      );

      await holder.release();

      expect(await served).toEqual(['other 1', 'one 2', 'other 2', 'one 3']);
    });

    test('release() deletes its entry and creates that of the next local caller in one revision', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const first = await locker.lock('a');
      using queue = await watchQueue(fixture);
      const second = locker.lock('a');

      await first.release();
      const lock = await second;

      await fixture.until(() => {
        expect(queue.seen).toHaveLength(2);
      });
      expect(new Set(queue.seen)).toEqual(
        new Set([`delete ${first.key} ${String(lock.fencingToken)}`, `put ${lock.key} ${String(lock.fencingToken)}`]),
      );
      expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
      await expectHolder(locker, lock);
    });

    test('lock() inherits the entry when the local caller before it is aborted', async () => {
      await using fixture = await open();
      const [one, other, third] = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a', { value: 'holder' });
      const controller = new AbortController();
      const aborted = follow(other.lock('a', { value: 'aborted', signal: controller.signal }));
      const heir = follow(other.lock('a', { value: 'heir' }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const last = await enqueue(fixture, third, 'last');
      const [, entry] = await fixture.entries('a');

      controller.abort();
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['holder', 'heir', 'last']);
      });
      await holder.release();
      const lock = await heir.promise;

      expect(aborted.error).toBe(controller.signal.reason);
      expect(lock).toMatchObject({ key: entry?.key, fencingToken: entry?.createRevision, value: 'heir' });
      await expectHolder(one, lock);
      expect(last.isSettled).toBe(false);
      await lock.release();
      await expectHolder(one, await last.promise);
    });

    test('lock() does not inherit an entry when its TTL is another', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const holder = await one.lock('a', { value: 'holder' });
      const controller = new AbortController();
      const aborted = follow(other.lock('a', { value: 'aborted', signal: controller.signal }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const [, entry] = await fixture.entries('a');
      const next = follow(other.lock('a', { value: 'next', ttlMs: 30_000 }));

      controller.abort();
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ value }) => value)).toEqual(['holder', 'next']);
      });
      await holder.release();
      const lock = await next.promise;

      expect(aborted.error).toBe(controller.signal.reason);
      expect(lock.leaseId).not.toBe(entry?.leaseId);
      await expectHolder(one, lock);
    });
  });
}
