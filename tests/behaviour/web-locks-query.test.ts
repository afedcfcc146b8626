/** Tests of query() during a hand-over and a minimum hold. */
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

test('query() reports a released lock as held until the end of its minimum hold', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const locks = webLocks(locker);
  const names = (list: readonly { readonly name?: string | undefined }[] | undefined) => list?.map(({ name }) => name);
  await (await locker.lock('a', { minHoldMs: 10_000 })).release();
  const waiting = follow(memory.createLocker().lock('a'));
  await memory.clock.settle();

  const early = await locks.query();
  await memory.clock.advance(11_000);
  const late = await locks.query();

  expect([names(early.held), names(early.pending)]).toEqual([['a'], ['a']]);
  expect(waiting.value?.held).toBe(true);
  expect([names(late.held), names(late.pending)]).toEqual([['a'], []]);
});
