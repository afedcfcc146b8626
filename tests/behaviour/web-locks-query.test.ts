/** Tests of query() during a hand-over. */
import { webLocks } from 'etcd-locker/web-locks';
import { expect, test } from 'vitest';
import { respondsAfter, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';
import { trackRequest } from '../support/fixtures/web-locks.ts';

test('query() reports a request that got its lock between the read and its response', async () => {
  await using memory = await openFaultyMemory();
  const locks = webLocks(memory.createLocker());
  const [first, second] = [trackRequest(locks, 'a'), trackRequest(locks, 'a')];
  await memory.clock.settle();
  memory.store.next(calls.read, respondsAfter(memory.clock, 500));
  const state = follow(locks.query());
  await memory.clock.settle();

  first.finish();
  await memory.clock.advance(100);
  expect([second.granted, state.isSettled]).toEqual([1, false]);
  await memory.clock.advance(500);

  expect(state.value?.held.map(({ name }) => name)).toEqual(['a']);
  expect(state.value?.pending).toEqual([]);
});
