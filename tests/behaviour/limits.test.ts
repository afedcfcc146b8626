/** Tests of maxHoldMs and `renew: false` under faults and with jumps of the clock. */
import { describe, expect, test } from 'vitest';
import { EtcdAuthError } from '../../src/errors.ts';
import { after, calls, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('maxHoldMs', () => {
  test('loses the lock first, and then hands over to the next call of the process in one commit', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', { maxHoldMs: 1_000 });
    const second = follow(locker.lock('a'));
    const before = memory.store.calls.length;
    let wasLostFirst = false;
    memory.store.next(calls.handOver, (send) => {
      wasLostFirst = !first.held;
      return send();
    });

    await memory.clock.advance(1_000);

    expect(wasLostFirst).toBe(true);
    expect(first.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(second.value?.held).toBe(true);
    expect(memory.store.calls.slice(before).map(calls.handOver)).toEqual([true]);
  });

  test('ends at a read of the handle if the timer is late', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [read, watched, woken] = await Promise.all(['a', 'b', 'c'].map((name) => locker.lock(name, { maxHoldMs: 1_000 })));

    memory.clock.freeze(1_000);

    expect(read?.held).toBe(false);
    expect(watched?.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(() => woken?.throwIfLost()).toThrow(/max-hold|longer/);
    await memory.clock.settle();
    expect(['a', 'b', 'c'].flatMap((name) => memory.entries(name))).toEqual([]);
  });

  test('counts by the wall clock too, because a machine may sleep', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { maxHoldMs: 5_000 });

    memory.clock.jumpWall(5_000);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
  });

  test('release() in a listener of the signal does not release a second time', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    const next = [follow(locker.lock('a')), follow(locker.lock('a'))] as const;
    lock.signal.addEventListener('abort', () => void lock.release());

    await memory.clock.advance(100);

    expect(next.map(({ isSettled }) => isSettled)).toEqual([true, false]);
    expect(next[0].value?.held).toBe(true);
  });

  test('does not lose a lock that was released in time', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    memory.store.every(calls.deletion, after(memory.clock, 500));
    const released = follow(lock.release());

    await memory.clock.advance(600);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(lock.signal.aborted).toBe(false);
    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('a refused deletion causes no unhandled rejection, and the lease ends the entry', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    const next = follow(other.lock('a'));
    const stop = memory.store.every(calls.deletion, refused(new EtcdAuthError('locks/', 'denied')));

    await memory.clock.advance(200);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(next.isSettled).toBe(false);
    await memory.clock.advance(20_000);
    stop();

    expect(next.value?.held).toBe(true);
  });
});

describe('renew: false', () => {
  test('is not renewed while it is held, and ends a TTL after the last renewal', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { renew: false });
    const before = memory.store.count(calls.renew);

    await memory.clock.advance(13_400);
    expect(lock.held).toBe(true);
    await memory.clock.advance(200);

    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
    expect(memory.store.count(calls.renew)).toBe(before);
    expect(memory.entries('a')).toEqual([]);
  });

  test('is renewed when it is acquired, so that the lock has its whole time', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await other.lock('a');
    const waiting = follow(locker.lock('a', { renew: false }));
    await memory.clock.advance(3_500);
    const before = memory.store.count(calls.renew);

    await holder.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.renew)).toBe(before + 1);
    expect(waiting.value?.remainingMs).toBe(13_500);
  });

  test('goes to the back of the queue with a new lease when the process was frozen before it was acquired', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await other.lock('a');
    const waiting = follow(locker.lock('a', { renew: false, value: 'frozen' }));
    await memory.clock.advance(100);
    memory.store.next(calls.renew, after(memory.clock, 0));
    memory.clock.freeze(4_000);
    await holder.release();
    memory.clock.freeze(60_000);

    await memory.clock.advance(1_000);

    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.remainingMs).toBeGreaterThan(12_000);
    expect(await errorOf(waiting.promise)).toBeUndefined();
  });

  test('lockAll() with timeoutMs: 0 renews the lease until all names are held', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.creation, (send) => send(), after(memory.clock, 1_700));

    const locking = follow(memory.createLocker().lockAll(['a', 'b'], { renew: false, ttlMs: 2_000, timeoutMs: 0 }));
    await memory.clock.advance(1_700);

    expect(locking.value?.held).toBe(true);
    const renewals = memory.store.count(calls.renew);
    await memory.clock.advance(2_000);
    expect(memory.store.count(calls.renew)).toBe(renewals);
    expect(locking.value?.held).toBe(false);
  });
});
