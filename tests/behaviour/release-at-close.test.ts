/** Tests of release() under way at close(): it resolves when etcd certainly no longer has the entry. */
import { describe, expect, test } from 'vitest';
import { after, respondsAfter, calls, hangs, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

describe('release() under way at close()', () => {
  test('resolves when etcd confirms the end of the lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.deletion, hangs);
    memory.store.next(calls.revoke, respondsAfter(memory.clock, 2_000));
    const released = follow(lock.release());

    const closed = locker.close();
    await memory.clock.advance(1_999);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await closed;
  });

  test('resolves when etcd confirms the deletion, if that comes first', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.revoke, hangs);
    const released = follow(lock.release());

    const closed = locker.close();
    await memory.clock.settle();

    expect(memory.entries('a')).toEqual([]);
    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await memory.clock.advance(5_000);
    await closed;
  });

  test('resolves at the end of the lease when etcd does not respond', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.any, hangs);
    const released = follow(lock.release());

    const closed = follow(locker.close());
    await memory.clock.advance(5_000);
    expect(closed.isSettled).toBe(true);
    await memory.clock.advance(9_999);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(released.isSettled).toBe(true);
  });

  test('leaves no timer when its delete fails after the end of the session', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.deletion, after(memory.clock, 2_000, lostRequest));
    const released = lock.release();
    await locker.close();
    await released;

    await memory.clock.advance(2_000);

    expect(memory.clock.timerCount).toBe(0);
  });
});
