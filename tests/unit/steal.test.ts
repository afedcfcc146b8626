import { expect, test } from 'vitest';
import { internalsOf } from '../../src/internals.ts';
import { answeredAfter, calls, openBench } from '../support/fixtures-faults.ts';
import { follow } from '../support/fixtures-holding.ts';

test('a thief whose own entry was deleted before its answer came takes nothing from who came after it', async () => {
  await using bench = await openBench();
  const locker = bench.createLocker();
  const internals = internalsOf(locker);
  if (internals === undefined) throw new Error('It is no locker of this package');
  const before = await locker.lock('a');
  bench.store.next(calls.creation, answeredAfter(bench.clock, 500));
  const theft = follow(internals.lines.steal('a', internals.ask()));
  await bench.clock.advance(100);
  const key = bench.entries('a')[0]?.key ?? '';
  bench.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  // Of another kind, which does not line up behind a holder of its process.
  const later = await locker.lock('a', { mode: 'shared' });
  expect(theft.isSettled).toBe(false);

  await bench.clock.advance(500);

  expect(theft.value?.fencingToken).toBeLessThan(later.fencingToken);
  expect(before.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
  expect(later.held).toBe(true);
});
