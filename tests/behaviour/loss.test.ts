/** Tests of the two phases of a loss: the state changes at once, and listeners run in a microtask or at a read of a handle. */
import type { Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, respondsAfter, calls, openFaultyMemory } from '../support/fixtures/faults.ts';

function countAborts({ signal }: Pick<Lock, 'signal'>): { readonly count: number } {
  const aborts = { count: 0 };
  signal.addEventListener('abort', () => (aborts.count += 1));
  return aborts;
}

describe('a loss that the library detects', () => {
  test('runs no listener within the call that detects it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const aborts = countAborts(await locker.lock('a'));
    memory.clock.freeze(14_000);

    const tried = locker.tryLock('b');
    expect(aborts.count).toBe(0);
    await Promise.resolve();

    expect(aborts.count).toBe(1);
    expect((await tried)?.held).toBe(true);
  });

  test('runs the listeners of a handle at its read, and those of other handles later', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [read, watched] = await Promise.all([locker.lock('a'), locker.lock('b')]);
    const aborts = [countAborts(read), countAborts(watched)];
    memory.clock.freeze(14_000);

    const tried = locker.tryLock('c');
    expect(read.held).toBe(false);
    expect(aborts.map(({ count }) => count)).toEqual([1, 0]);
    await tried;

    expect(aborts.map(({ count }) => count)).toEqual([1, 1]);
  });

  test('makes each lock of the lease lost before the first listener runs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const locks = await Promise.all(['a', 'b', 'c'].map((name) => locker.lock(name)));
    const seen: boolean[][] = [];
    for (const lock of locks) lock.signal.addEventListener('abort', () => seen.push(locks.map(({ held }) => held)));

    await memory.clock.advance(1_000);
    memory.clock.freeze(60_000);
    await memory.clock.advance(1_000);

    expect(seen).toEqual([
      [false, false, false],
      [false, false, false],
      [false, false, false],
    ]);
  });

  test('leaves the name free for a try in the same tick', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a');
    memory.clock.freeze(60_000);

    const next = await locker.tryLock('a');

    expect(next?.held).toBe(true);
  });

  test('leaves no timer of maxHoldMs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a', { maxHoldMs: 100_000 });

    await locker.close();

    expect(memory.clock.timerCount).toBe(0);
  });

  test('keeps the local queue, so that each caller gets its lock', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const other = await locker.lock('other', { ttlMs: 2_000 });
    const first = await locker.lock('a');
    const callers = [locker.lock('a', { ttlMs: 2_000 }), locker.lock('a'), locker.lock('a', { ttlMs: 2_000 })];
    // The release uses the session of 2 s, and detects that its deadline has passed.
    memory.clock.freeze(2_000);

    await first.release();
    for (const caller of callers) await (await caller).release();

    expect(other.held).toBe(false);
  });
});

describe('a loss of several locks', () => {
  test('releases all locks, and aborts each signal once', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const locks = await locker.lockAll(['a', 'b'], { maxHoldMs: 1_000 });
    const aborts = [countAborts(locks), ...locks.locks.map(countAborts)];

    await memory.clock.advance(1_000);

    expect(aborts.map(({ count }) => count)).toEqual([1, 1, 1]);
    expect(['a', 'b'].flatMap((name) => memory.entries(name))).toEqual([]);
  });

  test('makes all locks lost at the read of any handle', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const locks = await locker.lockAll(['a', 'b', 'c'], { maxHoldMs: 1_000 });
    const [, second] = locks.locks;
    memory.clock.freeze(1_000);

    expect(second?.held).toBe(false);

    expect(locks.held).toBe(false);
    expect(locks.locks.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
  });

  test('a read of the lock of all aborts the signal of each of them at once', async () => {
    await using memory = await openFaultyMemory();
    const locks = await memory.createLocker().lockAll(['a', 'b', 'c']);
    const aborts = [countAborts(locks), ...locks.locks.map(countAborts)];
    memory.clock.freeze(14_000);

    expect(locks.held).toBe(false);

    expect(aborts.map(({ count }) => count)).toEqual([1, 1, 1, 1]);
  });
});

// An entry that counted as gone twice would give back the room of another one, and its session would end as idle.
describe('a release and a write of the value that are under way together', () => {
  test('do not end the session of other locks when the write finds the entry gone after the release', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [released, kept] = await Promise.all([locker.lock('a'), locker.lock('b')]);
    memory.store.next(calls.value, after(memory.clock, 100));

    const written = released.setValue('late');
    await Promise.all([released.release(), expect(written).rejects.toMatchObject({ code: 'LOCK_RELEASED' })]);
    await memory.clock.advance(60_000);

    expect(kept.held).toBe(true);
  });

  test('do not end the session of other locks when the write finds the entry gone before the response to the release', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lock, kept] = await Promise.all([locker.lock('a'), locker.lock('b')]);
    memory.store.next(calls.value, after(memory.clock, 100));
    memory.store.next(calls.deletion, respondsAfter(memory.clock, 200));

    const written = lock.setValue('late');
    const released = lock.release();
    await expect(written).rejects.toMatchObject({ code: 'LOCK_RELEASED' });
    await memory.clock.advance(60_000);
    await released;

    expect(kept.held).toBe(true);
  });
});
