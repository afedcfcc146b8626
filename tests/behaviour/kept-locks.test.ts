/** Tests of keepMs: who gets a kept lock, with how many requests, and what ends the keeping. */
import { LockReleasedError, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { type Call, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const options = { keepMs: 10_000 };

describe('a lock with keepMs', () => {
  test('is taken again without a request, with the same token', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', options);
    await first.release();
    await memory.clock.settle();
    const before = memory.store.calls.length;
    for (let round = 0; round < 5; round += 1) {
      const lock = await locker.lock('a', options);
      expect(lock).toMatchObject({ held: true, fencingToken: first.fencingToken });
      await lock.release();
      expect(lock.held).toBe(false);
    }
    expect(memory.store.calls.length).toBe(before);
    expect(memory.entries('a')).toHaveLength(1);
    await memory.clock.advance(10_000);
    expect(memory.entries('a')).toHaveLength(0);
  });

  test('is given to a waiter of another process', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const first = await locker.lock('a', options);
    await first.release();
    await memory.clock.settle();
    const lock = follow(other.lock('a'));
    await memory.clock.settle();
    expect(lock.value?.held).toBe(true);
    expect(first.held).toBe(false);
  });
});
