/** Tests of kept locks in narrow places: the session ends during the step of a call, a call gives up, the locker closes meanwhile. */
import type { Lock, Locker } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, openFaultyMemory, unreachable } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

function errorIn(step: () => unknown): unknown {
  try {
    step();
    return undefined;
  } catch (error) {
    return error;
  }
}

const options = { keepMs: 60_000 };

async function keep(memory: FaultyMemory, locker: Locker, name = 'a'): Promise<Lock> {
  const lock = await locker.lock(name, options);
  await lock.release();
  await memory.clock.settle();
  return lock;
}

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
});
