/** Tests of keepMs: who gets a kept lock, with how many requests, and what ends the keeping. */
import diagnostics from 'node:diagnostics_channel';
import { type Lock, LockReleasedError } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, hangs, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { errorOf, expectHolder, follow, keep } from '../support/fixtures/holding.ts';

const options = { keepMs: 60_000 };

/** The number of requests that `task` sends. */
async function countRequests(memory: FaultyMemory, task: () => Promise<unknown>): Promise<number> {
  const before = memory.store.calls.length;
  await task();
  await memory.clock.settle();
  return memory.store.calls.length - before;
}

describe('a kept lock', () => {
  test('is taken by the next calls of its locker without a request, with its token', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await keep(memory, locker);
    const takes: [string, () => Promise<Lock | null>][] = [
      ['lock()', () => locker.lock('a', options)],
      ['tryLock()', () => locker.tryLock('a', options)],
      ['lock() that does not wait', () => locker.lock('a', { ...options, timeoutMs: 0 })],
      ['tryLock() that may wait', () => locker.tryLock('a', { ...options, timeoutMs: 1_000 })],
    ];

    for (const [name, take] of takes) {
      const count = await countRequests(memory, async () => {
        const lock = await take();
        expect(lock, name).toMatchObject({ held: true, fencingToken: first.fencingToken, key: first.key });
        await lock?.release();
        expect(lock?.held).toBe(false);
      });
      expect(count, name).toBe(0);
    }
    const isDone = await locker.withLock('a', options, (lock) => lock.fencingToken === first.fencingToken);
    expect(isDone).toBe(true);
  });

  test('is taken by lead(), and a leadership that ends is not kept', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ keepMs: 60_000 });
    const first = await keep(memory, locker);

    const token = await locker.lead('a', (lock) => lock.fencingToken);

    expect(token).toBe(first.fencingToken);
    expect(memory.entries('a')).toEqual([]);
  });

  test('is released in the tick of the call: release() sends nothing and resolves', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    memory.store.every(calls.any, hangs);

    const released = follow(lock.release());
    const next = follow(locker.lock('a', options));
    for (let ticks = 0; ticks < 10; ticks += 1) await Promise.resolve();

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(next.value?.held).toBe(true);
    expect(memory.store.count(calls.deletion)).toBe(0);
  });

  test('goes to the callers that wait in this process, in their order and without a request', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await keep(memory, locker).then(() => locker.lock('a', options));
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (n) => {
      const own = await locker.lock('a', options);
      order.push(n);
      await own.release();
      return own.fencingToken;
    });

    const count = await countRequests(memory, async () => {
      await lock.release();
      await Promise.all(waiting);
    });

    expect(order).toEqual([1, 2, 3]);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([lock.fencingToken]));
    expect(count).toBe(0);
  });

  test('is held for all others: tryLock() of another locker is null, inspect(), list() and watch() show it', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await keep(memory, locker);

    expect(await other.tryLock('a')).toBeNull();
    for (const one of [locker, other]) {
      expect(await one.inspect('a')).toMatchObject({ held: true, waiting: 0, localWaiting: 0, holders: [{ key: lock.key }] });
    }
    for await (const { name, holders } of other.list()) expect([name, holders.length]).toEqual(['a', 1]);
    for await (const { held } of other.watch('a')) {
      expect(held).toBe(true);
      break;
    }
    // A try leaves no trace, so it recalls nothing.
    expect(await countRequests(memory, () => locker.lock('a', options))).toBe(0);
  });

  test('is off by default and with keepMs 0, and sends what it sent before', async () => {
    await using memory = await openFaultyMemory();
    const [plain, keeper] = [memory.createLocker(), memory.createLocker({ keepMs: 60_000 })];
    await plain.lock('b');
    await keeper.lock('c');

    for (const lock of [() => plain.lock('a'), () => keeper.lock('a', { keepMs: 0 })]) {
      expect(await countRequests(memory, async () => (await lock()).release())).toBe(2);
      expect(memory.entries('a')).toEqual([]);
    }
  });

  test('with the keepMs of the locker, only exclusive locks that are renewed and have no minimum hold are kept', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ keepMs: 60_000 });

    for (const other of [{ mode: 'shared' }, { slots: 2 }, { slots: 1 }, { renew: false }] as const) {
      await (await locker.lock('a', other)).release();
      await memory.clock.settle();
      expect(memory.entries('a'), JSON.stringify(other)).toEqual([]);
    }
    await (await locker.lock('a', { minHoldMs: 1 })).release();
    await memory.clock.advance(2_000);
    expect(memory.entries('a')).toEqual([]);
    await (await locker.lock('a')).release();
    expect(memory.entries('a')).toHaveLength(1);
  });

  test('writes the value of the next caller first, in one request', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);

    const locks: Lock[] = [];
    for (const take of [() => locker.lock('a', { ...options, value: 'one' }), () => locker.tryLock('a', { ...options, value: 'two' })]) {
      const count = await countRequests(memory, async () => {
        const lock = await take();
        if (lock === null) throw new Error('Cannot take the kept lock: the name is busy');
        locks.push(lock);
        await expectHolder(locker, lock);
        await lock.release();
      });
      // The others are the request of inspect(), and the reading of the time that the lease has left.
      expect(count).toBe(3);
    }
    expect(locks.map(({ value }) => value)).toEqual(['one', 'two']);
  });
});

describe('Web Locks beside kept locks', () => {
  test('keep nothing, and take what the locker keeps', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ keepMs: 60_000 });
    const locks = webLocks(locker);
    await locks.request('a', () => undefined);
    expect(memory.entries('a')).toEqual([]);

    for (const request of [{}, { ifAvailable: true }, { steal: true }, { mode: 'shared' }] as const) {
      await keep(memory, locker);
      expect(await locks.query()).toEqual({ held: [], pending: [] });
      const isGranted = await locks.request('a', request, (lock) => lock !== null);
      await memory.clock.settle();
      expect([isGranted, memory.entries('a')]).toEqual([true, []]);
    }
  });
});

describe('the messages of telemetry', () => {
  test('report each hold of a kept lock', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const seen: string[] = [];
    const listeners = (['held', 'released', 'lost'] as const).map((what) => {
      const name = `etcd-locker:${what}` as const;
      const listener = (message: unknown): void => {
        seen.push(`${what} ${String((message as { fencingToken: bigint }).fencingToken)}`);
      };
      diagnostics.subscribe(name, listener);
      return () => diagnostics.unsubscribe(name, listener);
    });

    const { fencingToken } = await keep(memory, locker);
    await keep(memory, locker);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: memory.entries('a')[0]?.key ?? '' } }], otherwise: [] });
    await memory.clock.settle();
    for (const end of listeners) end();

    // Nobody held the lock that was deleted.
    expect(seen).toEqual(['held', 'released', 'held', 'released'].map((what) => `${what} ${String(fencingToken)}`));
  });
});

describe('a handle of an earlier hold', () => {
  test('stays released while a later hold has the entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await locker.lock('a', { ...options, value: 'old' });
    const { signal } = old;
    await old.release();

    await using lock = await locker.lock('a', { ...options, value: 'new' });

    expect(lock.held).toBe(true);
    expect(old).toMatchObject({ held: false, remainingMs: 0, value: 'old' });
    expect(() => {
      old.throwIfLost();
    }).toThrow(LockReleasedError);
    expect(await errorOf(old.setValue('late'))).toBeInstanceOf(LockReleasedError);
    expect(JSON.parse(JSON.stringify(old))).toMatchObject({ held: false, value: 'old' });
    await old.release();
    expect(lock.held).toBe(true);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: lock.key } }], otherwise: [] });
    await memory.clock.settle();
    expect(lock.held).toBe(false);
    expect(signal.aborted).toBe(false);
  });

  test('writes no value into a later hold: a write that is under way is rejected and comes before', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await locker.lock('a', options);
    memory.store.next(calls.value, after(memory.clock, 1_000));
    const [sent, waiting] = [errorOf(old.setValue('sent')), errorOf(old.setValue('waits'))];
    await memory.clock.settle();

    await old.release();
    const taken = follow(locker.lock('a', options));
    await memory.clock.settle();
    expect(taken.isSettled).toBe(false);
    await memory.clock.advance(1_000);

    expect(await sent).toBeInstanceOf(LockReleasedError);
    expect(await waiting).toBeInstanceOf(LockReleasedError);
    expect(taken.value?.held).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ value: taken.value?.value }]);
  });

  test('has no limit left, and its group neither', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await (await locker.lock('a', { ...options, maxHoldMs: 1_000 })).release();
    await (await locker.lockAll(['b', 'c'], { ...options, maxHoldMs: 1_000 })).release();

    const locks = [await locker.lock('a', options), await locker.lock('b', options)];
    await memory.clock.advance(5_000);

    expect(locks.map(({ held }) => held)).toEqual([true, true]);
    const again = await locker.lock('c', { ...options, maxHoldMs: 1_000 });
    await memory.clock.advance(1_000);
    expect(again.held).toBe(false);
    expect(memory.entries('c')).toEqual([]);
  });
});

describe('a lock of lockAll() that was released alone', () => {
  test('is not lost with the others: a later hold of its entry stays', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const { locks } = await locker.lockAll(['a', 'b'], options);
    await locks[0]?.release();
    const later = await locker.lock('a', options);
    expect(later.fencingToken).toBe(locks[0]?.fencingToken);

    memory.etcd.commit({ compare: [], then: [{ delete: { key: locks[1]?.key ?? '' } }], otherwise: [] });
    await memory.clock.advance(20_000);

    expect([locks[1]?.held, later.held]).toEqual([false, true]);
  });
});

describe('a recall', () => {
  test('gives a kept lock to a waiter of another locker, with one request of the keeper and at most three of the waiter', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('b');
    const kept = await keep(memory, locker);

    let lock: Lock | undefined;
    expect(await countRequests(memory, async () => (lock = await other.lock('a')))).toBeLessThanOrEqual(1 + 3);

    expect(lock?.held).toBe(true);
    expect(lock?.fencingToken).toBeGreaterThan(kept.fencingToken);
    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('makes the release of the next hold wait for etcd', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    const [again, seen] = [await locker.lock('a', options), await locker.lock('b', options)];
    expect(seen.wanted.aborted).toBe(false);
    const waiting = [follow(other.lock('a')), follow(other.lock('b'))];
    await memory.clock.settle();
    memory.store.every(calls.deletion, respondsAfter(memory.clock, 1_000));

    const released = [follow(again.release()), follow(seen.release())];
    await memory.clock.advance(500);
    expect(released.map(({ isSettled }) => isSettled)).toEqual([false, false]);
    await memory.clock.advance(500);

    expect(released.map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect(waiting.map(({ value }) => value?.held)).toEqual([true, true]);
  });

  test('survives the next hold: its release gives the lock to the waiter', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    const lock = await locker.lock('a', options);
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    const local = follow(locker.lock('a', options));

    await lock.release();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
    expect(local.isSettled).toBe(false);
    await waiting.value?.release();
    await memory.clock.settle();
    expect(local.value?.held).toBe(true);
  });

  test('comes from a waiter that was there before the watch: the look behind finds it', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', options);
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();

    await lock.release();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
  });

  test('comes from a waiter that came while the watch was broken', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    memory.store.breakWatches();
    const waiting = follow(other.lock('a'));
    await memory.clock.advance(1_000);
    expect(waiting.isSettled).toBe(false);

    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
  });

  test('ends the keeping of the name until it was released with nobody behind', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    const waiting = await other.lock('a');
    const own = follow(locker.lock('a', options));
    await memory.clock.settle();
    const behind = follow(other.lock('a'));
    await waiting.release();
    await memory.clock.settle();

    // Somebody is behind it.
    await own.value?.release();
    await memory.clock.settle();
    expect(behind.value?.held).toBe(true);
    await behind.value?.release();

    // Nobody is, so this release deletes the entry, and the next one keeps it.
    await (await locker.lock('a', options)).release();
    await memory.clock.settle();
    expect(memory.entries('a')).toEqual([]);
    await (await locker.lock('a', options)).release();
    await memory.clock.settle();
    expect(memory.entries('a')).toHaveLength(1);
  });

  test('ends when a hand-over in this process finds nobody before the next entry', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    await (await other.lock('a')).release();
    const lock = await locker.lock('a', options);
    const next = locker.lock('a', options);

    await lock.release();
    await (await next).release();
    await memory.clock.settle();

    expect((await next).fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(memory.entries('a')).toHaveLength(1);
  });

  test('comes from a waiter that the reader of `wanted` has seen', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', options);
    const { wanted } = lock;
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    expect(wanted.aborted).toBe(true);

    const count = await countRequests(memory, () => lock.release());

    expect(waiting.value?.held).toBe(true);
    // The deletion alone: it admits the waiter.
    expect(count).toBe(1);
  });

  test('aborts `wanted` of the hold that has the entry, and each hold has a signal of its own', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const first = await locker.lock('a', options);
    const { wanted } = first;
    await memory.clock.settle();
    await first.release();
    const second = await locker.lock('a', options);
    expect(await countRequests(memory, () => Promise.resolve(second.wanted))).toBe(0);

    const waiting = follow(other.lock('a'));
    await memory.clock.settle();

    expect([wanted.aborted, second.wanted.aborted]).toEqual([false, true]);
    await second.release();
    await memory.clock.settle();
    expect(waiting.value?.held).toBe(true);
  });
});
