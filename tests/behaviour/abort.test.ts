/** Tests of an abort signal that several calls share. */
import { expect, test } from 'vitest';
import { openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf } from '../support/fixtures/holding.ts';

test('an abort ends all waiting calls and watches, even if another listener calls stopImmediatePropagation()', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await locker.lock('a');
  const controller = new AbortController();
  const { signal } = controller;
  signal.addEventListener('abort', (event) => {
    event.stopImmediatePropagation();
  });
  const reason = new Error('mine');
  const waiting = [locker.lock('a', { signal }), locker.lockAll(['a', 'b'], { signal })].map(errorOf);
  const states = locker.watch('a', { signal });
  await states.next();
  const end = states.next();
  await memory.clock.settle();

  controller.abort(reason);

  expect(await Promise.all(waiting)).toEqual([reason, reason]);
  expect(await end).toEqual({ done: true, value: undefined });
});
