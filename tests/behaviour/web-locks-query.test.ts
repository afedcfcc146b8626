import { webLocks } from 'etcd-locker/web-locks';
import { expect, test } from 'vitest';
import { answeredAfter, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';
import { ask } from '../support/fixtures/web-locks.ts';

test('a request is seen by a later query(), though it was handed its lock between the reading and the answer', async () => {
  await using memory = await openFaultyMemory();
  const locks = webLocks(memory.createLocker());
  const [first, second] = [ask(locks, 'a'), ask(locks, 'a')];
  await memory.clock.settle();
  memory.store.next(calls.read, answeredAfter(memory.clock, 500));
  const state = follow(locks.query());
  await memory.clock.settle();

  first.end();
  await memory.clock.advance(100);
  expect([second.granted, state.isSettled]).toEqual([1, false]);
  await memory.clock.advance(500);

  expect(state.value?.held.map(({ name }) => name)).toEqual(['a']);
  expect(state.value?.pending).toEqual([]);
});
