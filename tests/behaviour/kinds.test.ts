/** Tests of the kinds under faults: the order of callers within one process, and tryLock() of shared locks and semaphores. */
import type { Lock, LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  respondsAfter,
  type FaultyMemory,
  calls,
  hangs,
  lostResponse,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { type Followed, follow } from '../support/fixtures/holding.ts';

const shared: LockOptions = { mode: 'shared' };

/** The values of the entries of 'a', oldest first. */
const valuesOf = (memory: FaultyMemory): string[] => memory.entries('a').map(({ value }) => value);

/** Puts a foreign entry. Returns a function that deletes it. */
const putForeign = (memory: FaultyMemory): (() => void) => {
  const key = 'locks/a/1234';
  memory.etcd.commit({ compare: [], then: [{ put: { key, value: 'foreign', leaseId: '0' } }], otherwise: [] });
  return () => {
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  };
};

async function releaseInOrder(waiting: readonly Followed<Lock>[]): Promise<void> {
  for (const { promise } of waiting) await (await promise).release();
}

describe('kinds in one process', () => {
  test('a caller enqueues after an earlier caller of another kind whose creation is under way', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, after(memory.clock, 1_000));

    const waiting = [
      follow(locker.lock('a', { value: 'writer' })),
      follow(locker.lock('a', { ...shared, value: 'reader' })),
      follow(locker.lock('a', { ...shared, value: 'reader' })),
      follow(locker.lock('a', { slots: 2, value: 'two' })),
      follow(locker.lock('a', { slots: 2, value: 'two' })),
      follow(locker.lock('a', { ...shared, value: 'late' })),
    ];
    await memory.clock.advance(900);
    expect(valuesOf(memory)).toEqual(['holder']);
    await memory.clock.advance(200);

    expect(valuesOf(memory)).toEqual(['holder', 'writer', 'reader', 'reader', 'two', 'two', 'late']);
    await holder.release();
    await releaseInOrder(waiting);
  });

  test('a caller that waits for the entry of an earlier caller continues when that caller is aborted', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open');
    const controller = new AbortController();
    memory.store.next(calls.creation, hangs);
    const writer = follow(locker.lock('a', { value: 'writer', signal: controller.signal }));
    const reader = follow(locker.lock('a', { ...shared, value: 'reader' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder']);

    controller.abort();
    await memory.clock.advance(10);

    expect(writer.error).toBe(controller.signal.reason);
    expect(valuesOf(memory)).toEqual(['holder', 'reader']);
    await holder.release();
    await memory.clock.settle();
    expect(reader.value?.held).toBe(true);
  });

  test('a caller behind an heir that needs an entry of its own enqueues after the heir', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open', { ttlMs: 30_000 });
    const controller = new AbortController();
    const aborted = follow(locker.lock('a', { value: 'aborted', signal: controller.signal }));
    // It cannot inherit the entry, because it needs another lease.
    const heir = follow(locker.lock('a', { value: 'heir', ttlMs: 30_000 }));
    const reader = follow(locker.lock('a', { ...shared, value: 'reader' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'aborted']);
    memory.store.next(calls.creation, after(memory.clock, 500));

    controller.abort();
    await memory.clock.advance(1_000);

    expect(aborted.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'heir', 'reader']);
    await holder.release();
    await releaseInOrder([heir, reader]);
  });

  test('a caller does not inherit an entry ahead of an earlier caller of another kind', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const aborted = follow(locker.lock('a', { slots: 2, value: 'aborted', signal: controller.signal }));
    const two = follow(locker.lock('a', { slots: 2, value: 'two' }));
    const writer = follow(locker.lock('a', { value: 'writer' }));
    // It has the kind of the aborted caller, but the writer came before it.
    const heir = follow(locker.lock('a', { slots: 2, value: 'heir' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'aborted', 'two', 'writer']);

    controller.abort();
    await memory.clock.advance(100);

    expect(aborted.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'two', 'writer', 'heir']);
    await holder.release();
    await releaseInOrder([two, writer, heir]);
  });

  test('a caller of another kind does not inherit an entry', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const writer = follow(locker.lock('a', { value: 'writer' }));
    const aborted = follow(locker.lock('a', { ...shared, value: 'aborted', signal: controller.signal }));
    const next = follow(locker.lock('a', { value: 'next' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'writer', 'aborted']);

    controller.abort();
    await memory.clock.advance(100);
    expect(aborted.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'writer']);
    await holder.release();
    await releaseInOrder([writer]);
    await memory.clock.settle();

    expect(next.value?.mode).toBe('exclusive');
  });

  test('a hand-over does not overtake an earlier caller of another kind that has no entry yet', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [one, two] = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
    memory.store.next(calls.creation, after(memory.clock, 1_000));
    const writer = follow(locker.lock('a', { value: 'writer' }));
    const third = follow(locker.lock('a', { slots: 2, value: 'third' }));
    await memory.clock.advance(100);

    await one.release();
    await memory.clock.advance(2_000);

    expect(valuesOf(memory).slice(1)).toEqual(['writer', 'third']);
    await two.release();
    await releaseInOrder([writer, third]);
  });

  test('a semaphore hands over to the next caller in one commit', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [one, two] = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
    const third = follow(locker.lock('a', { slots: 2 }));
    const before = memory.store.calls.length;

    await one.release();
    await memory.clock.settle();

    expect(memory.store.calls.slice(before).map(calls.handOver)).toEqual([true]);
    expect(third.value?.held).toBe(true);
    expect(two.held).toBe(true);
  });

  test('a writer behind readers looks only when one of the last two is gone, and needs no look after the other', async () => {
    await using memory = await openFaultyMemory();
    const readers = await Promise.all(Array.from({ length: 10 }, () => memory.createLocker().lock('a', shared)));
    const writer = follow(memory.createLocker().lock('a'));
    await memory.clock.advance(100);
    const before = memory.store.count(calls.read);

    for (const reader of readers.slice(0, 8)) await reader.release();
    await memory.clock.advance(100);
    expect(memory.store.count(calls.read) - before).toBe(0);
    await readers[8]?.release();
    await memory.clock.advance(100);
    expect(memory.store.count(calls.read) - before).toBe(1);
    await readers[9]?.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.read) - before).toBe(1);
    expect(writer.value?.held).toBe(true);
  });

  test('a waiter for a slot needs no look when enough entries before it are gone', async () => {
    await using memory = await openFaultyMemory();
    const holders = await Promise.all([0, 1, 2].map(() => memory.createLocker().lock('a', { slots: 3 })));
    const [fourth, sixth] = [memory.createLocker(), memory.createLocker()];
    const waiting = [follow(fourth.lock('a', { slots: 3 }))];
    await memory.clock.advance(100);
    const five = follow(memory.createLocker().lock('a', { slots: 3 }));
    await memory.clock.advance(100);
    waiting.push(five, follow(sixth.lock('a', { slots: 3 })));
    await memory.clock.advance(100);
    const before = memory.store.count(calls.read);

    await holders[1]?.release();
    await memory.clock.advance(100);

    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, false, false]);
    await holders[0]?.release();
    await holders[2]?.release();
    await memory.clock.advance(100);
    expect(waiting.every(({ value }) => value?.held === true)).toBe(true);
    expect(memory.store.count(calls.read) - before).toBe(0);
  });

  test.each([
    ['its request', lostRequest],
    ['its response', lostResponse],
  ])('a shared lock has one entry when its creation lost %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', shared);
    memory.store.next(calls.creation, fault);

    const second = await locker.lock('a', shared);

    expect(second.held).toBe(true);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([first.key, second.key]);
  });
});

describe('tryLock() of a shared lock or a semaphore', () => {
  test('sends two commits, and none if a holder of the same locker excludes it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a', shared);
    const before = memory.store.calls.length;

    expect(await locker.tryLock('a', shared)).not.toBeNull();
    expect(memory.store.calls.length - before).toBe(2);
    expect(await locker.tryLock('a')).toBeNull();

    expect(memory.store.calls.length - before).toBe(2);
  });

  test('creates no entry if the queue has a foreign entry or one of another kind', async () => {
    await using memory = await openFaultyMemory();
    const remove = putForeign(memory);

    expect(await memory.createLocker().tryLock('a', shared)).toBeNull();

    expect(memory.store.count(calls.creation)).toBe(0);
    remove();
  });

  test('notices entries that come between its look and its creation, and enqueues after three conflicts', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('open');
    const others: Promise<Lock>[] = [];
    const enqueueOther = async (send: () => Promise<unknown>): Promise<unknown> => {
      const response = await send();
      others.push(other.lock('a', shared));
      await others.at(-1);
      return response;
    };
    await locker.lock('open too', shared);
    const read = (call: Parameters<typeof calls.read>[0]): boolean => calls.read(call) && others.length < 3;
    memory.store.next(read, enqueueOther, enqueueOther, enqueueOther);

    const lock = await locker.tryLock('a', shared);

    expect(others).toHaveLength(3);
    expect(lock?.held).toBe(true);
    expect(memory.entries('a')).toHaveLength(4);
  });

  test('leaves no entry if a writer comes first after three conflicts', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('open');
    let count = 0;
    const enqueueOther = async (send: () => Promise<unknown>): Promise<unknown> => {
      const response = await send();
      count += 1;
      if (count === 4) void other.lock('a', { value: 'writer' }).catch(() => undefined);
      else await other.lock('a', shared);
      await memory.clock.settle();
      return response;
    };
    await locker.lock('open too', shared);
    const read = (call: Parameters<typeof calls.read>[0]): boolean => calls.read(call) && count < 4;
    memory.store.next(read, enqueueOther, enqueueOther, enqueueOther, enqueueOther);

    expect(await locker.tryLock('a', shared)).toBeNull();
    await memory.clock.settle();

    expect(count).toBe(4);
    expect(valuesOf(memory)).toHaveLength(4);
    expect(valuesOf(memory).at(-1)).toBe('writer');
  });

  test.each([
    ['its request', lostRequest],
    ['its response', lostResponse],
  ])('has one entry when the creation lost %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', { slots: 2 });
    memory.store.next(calls.creation, fault);

    const second = await memory.createLocker().tryLock('a', { slots: 2 });

    expect(second?.held).toBe(true);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([first.key, second?.key]);
  });

  test('does not return a lock whose deadline was near at the response', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 2_000 });
    await locker.lock('open too', shared);
    memory.store.next(calls.creation, respondsAfter(memory.clock, 3_000));
    const tried = follow(locker.tryLock('a', shared));

    await memory.clock.advance(3_100);

    expect(tried.isSettled && (tried.value === null || tried.value?.held === true)).toBe(true);
    await memory.clock.advance(100);
    if (tried.value !== null && tried.value !== undefined) {
      expect(memory.entries('a').map(({ key }) => key)).toEqual([tried.value.key]);
      expect(tried.value.remainingMs).toBeGreaterThan(600);
    }
  });
});
