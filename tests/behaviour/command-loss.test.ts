import { expect, test } from 'vitest';
import { onLoss } from '../../src/cli/run.ts';
import { openBench } from '../support/fixtures/faults.ts';

test.each([
  ['before', 20_000, 0],
  ['after', 0, 20_000],
])('onLoss() calls back once for a lock that is lost %s the call', async (_, beforeMs, afterMs) => {
  await using bench = await openBench();
  const lock = await bench.createLocker().lock('a', { renew: false });
  const messages: string[] = [];
  bench.clock.freeze(beforeMs);

  const stopWatching = onLoss(lock, ({ message }) => messages.push(message));
  await bench.clock.advance(afterMs);
  stopWatching();

  expect(messages).toEqual([expect.stringMatching(/its lease may have expired/)]);
});
