/** Tests of kept locks in narrow places: the session ends during the step of a call, a call gives up, the locker closes meanwhile. */
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, openFaultyMemory, unreachable } from '../support/fixtures/faults.ts';
import { errorIn, follow, keep } from '../support/fixtures/holding.ts';

const options = { keepMs: 60_000 };

/** Freezes the process for `ms` just before its `nth` reading of the clocks from now on. */
function freezeAt({ clock }: FaultyMemory, nth: number, ms: number): () => void {
  const original = clock.now.bind(clock);
  let readings = 0;
  clock.now = () => {
    readings += 1;
    if (readings === nth) clock.freeze(ms);
    return original();
  };
  return () => {
    clock.now = original;
  };
}

describe('a session that ends during a step', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('loses no lock that is released then (read %i)', async (readings) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const a = await locker.lock('a', options);
    memory.store.every(calls.renew, unreachable(memory.clock));
    await memory.clock.advance(6_000);
    const waiting = [follow(locker.lock('a', options)), follow(locker.lock('a', options))];
    await memory.clock.settle();
    memory.clock.freeze(a.remainingMs - 50);
    const { signal } = a;

    const stop = freezeAt(memory, readings, 100);
    void a.release();
    await memory.clock.settle();
    stop();
    await memory.clock.advance(1_000);
    await waiting[0]?.value?.release();
    await memory.clock.advance(1_000);

    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect(waiting[1]?.value?.held).toBe(true);
    // Only the first read is before the release.
    expect(signal.aborted).toBe(readings === 1);
    expect(
      errorIn(() => {
        a.throwIfLost();
      }),
    ).toMatchObject({ code: readings === 1 ? 'LOCK_LOST' : 'LOCK_RELEASED' });
  });

  test.each([1, 2, 3, 4, 5, 6])('gives its kept lock to nobody who would hold it (read %i)', async (readings) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    memory.store.every(calls.renew, unreachable(memory.clock));
    memory.clock.freeze(9_000);

    const stop = freezeAt(memory, readings, 60_000);
    const taken = follow(locker.lock('a', options));
    const tried = follow(locker.tryLockAll(['a', 'b'], options));
    await memory.clock.settle();
    stop();
    memory.store.clearFaults();
    await memory.clock.advance(1_000);

    expect([taken.isSettled, tried.isSettled]).toEqual([true, true]);
    expect(taken.value?.held === true && taken.value.fencingToken === old.fencingToken).toBe(false);
    expect(taken.error).toBeUndefined();
    await taken.value?.release();
    expect((await locker.lock('a')).held).toBe(true);
  });
});

describe('a kept lock that a call has reserved', () => {
  test('is given back if that call gives up in a drain', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    const held = await locker.lock('held');
    const controller = new AbortController();
    memory.store.next(calls.value, after(memory.clock, 1_000));
    const trying = follow(locker.tryLock('a', { ...options, value: 'another', signal: controller.signal }));
    const closing = follow(locker.close({ drainMs: 60_000 }));
    await memory.clock.advance(2_000);

    expect(trying.isSettled).toBe(true);
    expect(memory.entries('a')).toEqual([]);

    await held.release();
    await memory.clock.settle();
    expect(closing.isSettled).toBe(true);
  });

  test('is given back if its caller times out in a drain', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    const held = await locker.lock('held');
    memory.store.next(calls.value, after(memory.clock, 1_000));
    const waiting = follow(locker.lock('a', { ...options, value: 'another' }));
    const closing = follow(locker.close({ drainMs: 60_000 }));
    await memory.clock.advance(2_000);

    expect(waiting.isSettled).toBe(true);
    expect(memory.entries('a')).toEqual([]);

    await held.release();
    await memory.clock.settle();
    expect(closing.isSettled).toBe(true);
  });

  test('is free for the next tryLock() once that call has found another name busy', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    await memory.createLocker().lock('b');

    const both = follow(locker.tryLockAll(['a', 'b'], options));
    const one = follow(locker.tryLock('a', options));
    await memory.clock.settle();

    expect(both.value).toBeNull();
    expect(one.value?.held).toBe(true);
  });

  test('is awaited by several calls that have parts of each other, and one of them gets all', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker, 'a');
    const blocker = await memory.createLocker().lock('x');
    memory.store.next(calls.creation, after(memory.clock, 100));
    const first = follow(locker.tryLockAll(['a', 'x'], options));
    await keep(memory, locker, 'b');
    const second = follow(locker.tryLockAll(['b', 'a'], options));
    const third = follow(locker.tryLockAll(['a', 'b'], options));
    await memory.clock.advance(200);

    expect(first.value).toBeNull();
    expect([second, third].map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect([second, third].filter(({ value }) => value?.held === true)).toHaveLength(1);
    await blocker.release();
  });

  test('makes tryLock() null if that call takes it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);

    const both = follow(locker.tryLockAll(['a', 'b'], options));
    const one = follow(locker.tryLock('a', options));
    await memory.clock.settle();

    expect(both.value?.held).toBe(true);
    expect(one.value).toBeNull();
  });

  test('for a lock() that writes its value makes a tryLock() wait, and null then', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 5_000 });
    await keep(memory, locker);
    memory.store.next(calls.value, after(memory.clock, 4_000));
    const waiting = follow(locker.lock('a', { ...options, value: 'another' }));
    const trying = follow(locker.tryLock('a', options));
    await memory.clock.advance(3_900);
    expect([waiting.isSettled, trying.isSettled]).toEqual([false, false]);
    await memory.clock.advance(200);

    expect(waiting.value?.held).toBe(true);
    expect(trying.value).toBeNull();
  });
});

test('the release of a later lock does not give out a kept entry that is held, and was deleted without the holder knowing', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker({ keepMs: 60_000 });
  await (await locker.lock('a', { value: '1' })).release();
  await memory.clock.settle();
  // The first try writes its value to the kept entry. The second finds the entry taken, and asks etcd.
  memory.store.next(calls.value, after(memory.clock, 100));
  const first = follow(locker.tryLock('a', { value: '2' }));
  memory.store.next(calls.creation, after(memory.clock, 500));
  const second = follow(locker.tryLock('a', { value: '3' }));
  await memory.clock.advance(100);
  expect(first.value?.held).toBe(true);
  const report = memory.store.delayWatches(() => true);
  memory.etcd.commit({ compare: [], then: [{ delete: { key: first.value?.key ?? '' } }], otherwise: [] });
  await memory.clock.advance(500);
  expect(second.value?.held).toBe(true);

  await second.value?.release();
  const third = follow(locker.lock('a', { value: '2' }));
  await memory.clock.settle();

  expect(third.isSettled && first.value?.held).toBe(false);
  report();
  await memory.clock.advance(10_000);
  expect(first.value?.held).toBe(false);
  expect(third.value?.held).toBe(true);
});
