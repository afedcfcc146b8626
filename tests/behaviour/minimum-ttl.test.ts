/** Tests on an etcd that grants no lease below a minimum, which follows from its election timeout. */
import { expect, test } from 'vitest';
import { calls, type FaultyMemory, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

function setMinimum(memory: FaultyMemory, seconds: number): void {
  memory.store.every(calls.grant, (_, call) => {
    if (call.method === 'grant') memory.etcd.grant(call.leaseId, seconds);
    return Promise.resolve(seconds);
  });
}

function createLogged(memory: FaultyMemory) {
  const warnings: string[] = [];
  const ignore = (): void => undefined;
  const warn = (message: string): void => void warnings.push(message);
  return { warnings, locker: memory.createLocker({ ttlMs: 3_000, logger: { debug: ignore, info: ignore, warn, error: ignore } }) };
}

test('a locker warns once that its leases are longer than it asked for', async () => {
  await using memory = await openFaultyMemory();
  setMinimum(memory, 15);
  const { locker, warnings } = createLogged(memory);

  await locker.lock('a');
  await locker.lock('b', { ttlMs: 5_000 });
  await locker.lock('c', { renew: false });

  expect(warnings).toEqual([expect.stringMatching(/asked for leases of 3 s, got 15 s/)]);
});

test('renew: false ends at the TTL that was asked for, and frees the name then', async () => {
  await using memory = await openFaultyMemory();
  setMinimum(memory, 15);
  const { locker } = createLogged(memory);
  const lock = await locker.lock('a', { renew: false });
  const next = follow(memory.createLocker().lock('a'));

  expect(lock.remainingMs).toBe(2_500);
  await memory.clock.advance(2_499);
  expect([lock.held, next.isSettled]).toEqual([true, false]);
  await memory.clock.advance(600);

  expect([lock.held, next.value?.held]).toEqual([false, true]);
});

test('a release resolves at the end of the lease in etcd, not at that of the TTL that was asked for', async () => {
  await using memory = await openFaultyMemory();
  setMinimum(memory, 15);
  const { locker } = createLogged(memory);
  const lock = await locker.lock('a', { renew: false });
  memory.store.every(calls.deletion, () => new Promise(() => undefined));
  memory.store.every(calls.revoke, () => new Promise(() => undefined));
  const released = follow(lock.release());

  await memory.clock.advance(14_900);
  expect([released.isSettled, memory.entries('a').length]).toEqual([false, 1]);
  await memory.clock.advance(200);

  expect([released.isSettled, memory.entries('a').length]).toEqual([true, 0]);
});
