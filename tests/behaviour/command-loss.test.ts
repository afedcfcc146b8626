/** Tests of onLoss(), by which the command notices a lost lock. */
import { expect, test } from 'vitest';
import { onLoss } from '../../src/cli/run.ts';
import { openFaultyMemory } from '../support/fixtures/faults.ts';

test.each([
  ['before', 20_000, 0],
  ['after', 0, 20_000],
])('onLoss() calls its callback once if the lock is lost %s the call', async (_, beforeMs, afterMs) => {
  await using memory = await openFaultyMemory();
  const lock = await memory.createLocker().lock('a', { renew: false });
  const messages: string[] = [];
  memory.clock.freeze(beforeMs);

  const stopWatching = onLoss(lock, ({ message }) => messages.push(message));
  await memory.clock.advance(afterMs);
  stopWatching();

  expect(messages).toEqual([expect.stringMatching(/its lease may have expired/)]);
});
