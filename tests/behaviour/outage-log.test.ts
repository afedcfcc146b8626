/** Tests of the log during an outage: one line per interval for a whole locker. */
import { expect, test } from 'vitest';
import { unreachable, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

/** A line about a long wait says that the name is busy. There is one for each wait, with or without an outage. */
const isOfOutage = (line: unknown): boolean => !/still waiting for locks? .* (after|more names)/.test(String(line));

test('an outage logs one warning per requestTimeoutMs, for all waiters and watches together', async () => {
  await using memory = await openFaultyMemory();
  const warnings: unknown[] = [];
  const nothing = (): void => undefined;
  const logger = { debug: nothing, info: nothing, error: nothing, warn: (line: unknown) => isOfOutage(line) && warnings.push(line) };
  const holder = memory.createLocker();
  const names = Array.from({ length: 20 }, (_, index) => `n${String(index)}`);
  for (const name of names) await holder.lock(name, { ttlMs: 600_000 });
  const locker = memory.createLocker({ logger, ttlMs: 600_000 });
  for (const name of names) follow(locker.lock(name).catch(nothing));
  const watches = names.map((name) => locker.watch(name));
  for (const watch of watches) await watch.next();
  await memory.clock.advance(1_000);
  memory.store.every(calls.read, unreachable(memory.clock));
  memory.store.breakWatches();
  memory.store.restoreWatches();

  await memory.clock.advance(600_000);

  expect(warnings.length).toBeGreaterThan(10);
  expect(warnings.length).toBeLessThanOrEqual(600_000 / 5_000);
});
