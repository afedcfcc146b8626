import { expect, test } from 'vitest';
import { onLoss } from '../../src/cli/run.ts';
import { openBench } from '../support/fixtures/faults.ts';

test.each([
  ['before anybody watched for it', 20_000, 0],
  ['afterwards', 0, 20_000],
])('the command is told once of a loss that came %s', async (_, beforeMs, afterMs) => {
  await using bench = await openBench();
  const lock = await bench.createLocker().lock('a', { renew: false });
  const told: string[] = [];
  bench.clock.freeze(beforeMs);

  const unwatch = onLoss(lock, ({ message }) => told.push(message));
  await bench.clock.advance(afterMs);
  unwatch();

  expect(told).toEqual([expect.stringMatching(/its lease may be over/)]);
});
