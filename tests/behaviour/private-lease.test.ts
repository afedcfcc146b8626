/** Tests of the cost of a private lease (`renew: false`) when many locks are held. */
import { expect, test } from 'vitest';
import { openFaultyMemory } from '../support/fixtures/faults.ts';

test('renew: false reads the clocks as often with a thousand locks held as with none', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const now = memory.clock.now.bind(memory.clock);
  let readings = 0;
  memory.clock.now = () => {
    readings += 1;
    return now();
  };
  const costOf = async (name: string): Promise<number> => {
    const before = readings;
    await locker.lock(name, { renew: false });
    return readings - before;
  };

  const first = await costOf('first');
  for (let index = 0; index < 1_000; index += 1) await locker.lock(String(index), { renew: false });

  expect(await costOf('last')).toBe(first);
});
