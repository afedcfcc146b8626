/** Tests of `lock.wanted` beside `keepMs`: both use the watch behind the entry. */
import { expect, test } from 'vitest';
import { openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

const none = (): void => undefined;

test('a kept lock that is held again is wanted, and goes to the other process at its release', async () => {
  await using memory = await openFaultyMemory();
  const [locker, other] = [memory.createLocker({ keepMs: 60_000 }), memory.createLocker()];
  await locker.withLock('x', none);
  await memory.clock.settle();
  const lock = await locker.lock('x');
  const { wanted } = lock;
  const next = follow(other.lock('x'));
  await memory.clock.settle();
  expect([wanted.aborted, lock.wanted.aborted, lock.held]).toEqual([true, true, true]);
  await lock.release();
  await memory.clock.settle();
  expect(next.value?.held).toBe(true);
  expect((await locker.lock('y')).wanted.aborted).toBe(false);
});

test('the watch of a hold goes on behind the kept entry, and serves the next hold', async () => {
  await using memory = await openFaultyMemory();
  const [locker, other] = [memory.createLocker({ keepMs: 60_000 }), memory.createLocker()];
  const first = await locker.lock('x');
  const one = first.wanted;
  await memory.clock.settle();
  const watches = memory.etcd.watchCount;
  await first.release();
  const second = await locker.lock('x');
  const two = second.wanted;
  await memory.clock.settle();
  expect(memory.etcd.watchCount).toBe(watches);
  const next = follow(other.lock('x'));
  await memory.clock.settle();
  expect([one.aborted, two.aborted]).toEqual([false, true]);
  await second.release();
  await memory.clock.settle();
  expect(next.value?.held).toBe(true);
});

test('a kept entry is watched, also if a caller of the same process made the lock wanted', async () => {
  await using memory = await openFaultyMemory();
  const [locker, other] = [memory.createLocker({ keepMs: 60_000 }), memory.createLocker()];
  const first = await locker.lock('x');
  expect(first.wanted.aborted).toBe(false);
  await memory.clock.settle();
  const local = follow(locker.lock('x'));
  await memory.clock.settle();
  expect(first.wanted.aborted).toBe(true);
  await first.release();
  await memory.clock.settle();
  await local.value?.release();
  await memory.clock.settle();
  expect(memory.entries('x')).toHaveLength(1);
  const next = follow(other.lock('x'));
  await memory.clock.settle();
  expect(next.value?.held).toBe(true);
});
