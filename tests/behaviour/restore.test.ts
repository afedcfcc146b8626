/** Tests of an etcd that is restored from a snapshot while lockers use it. */
import { describe, expect, test } from 'vitest';
import { calls, type FaultyMemory, type Fault, lostRequest, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

/** Fails the test instead of an endless loop, which no timer of the test could interrupt. */
const atMost = (count: number): Fault => {
  let sent = 0;
  return (send) => (++sent > count ? new Promise(() => undefined) : send());
};

/** Makes the gate of the locker's session move: a creation is lost, and its outcome has to be settled. */
async function moveGate(memory: FaultyMemory, work: () => Promise<unknown>): Promise<void> {
  const before = memory.store.count(calls.gateMove);
  memory.store.next(calls.creation, lostRequest);
  await work();
  expect(memory.store.count(calls.gateMove)).toBe(before + 1);
}

describe('an etcd that is restored from before the gate moved', () => {
  test.each([0n, 1_000_000n])('lock() gets a new lease after a few requests, with bumpRevision %s', async (bumpRevision) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    await first.release();
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('a', () => undefined));
    memory.etcd.restore(snapshot, { bumpRevision });
    memory.store.every(calls.creation, atMost(10));
    const requests = memory.store.calls.length;

    const second = follow(locker.lock('b'));
    await memory.clock.advance(500);

    expect(second.value?.held).toBe(true);
    expect(second.value?.leaseId).not.toBe(first.leaseId);
    expect(memory.store.calls.length - requests).toBeLessThan(8);
  });

  test('a holder loses its lock with the next renewal, and the error says why', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('b', () => undefined));
    memory.etcd.restore(snapshot);

    await memory.clock.advance(6_000);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired', cause: { message: expect.stringContaining('restored') as string } });
  });

  test('a waiter gets its lock in the end when its creation was under way', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.withLock('a', () => undefined);
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('b', () => undefined));
    memory.store.next(calls.creation, (send, call) => {
      memory.etcd.restore(snapshot);
      return lostRequest(send, call);
    });
    memory.store.every(calls.gateMove, atMost(10));

    const lock = follow(locker.lock('c'));
    await memory.clock.advance(500);

    expect(lock.value?.held).toBe(true);
  });
});

test('a response that a move of the gate has overtaken ends no session', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const lock = await locker.lock('a');
  memory.store.next(calls.renew, respondsAfter(memory.clock, 1_000));
  while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

  await moveGate(memory, () => locker.withLock('b', () => undefined));
  await memory.clock.advance(2_000);

  expect(lock.held).toBe(true);
  expect(lock.remainingMs).toBeGreaterThan(10_000);
});
