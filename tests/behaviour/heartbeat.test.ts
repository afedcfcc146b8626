/** Tests of the heartbeat: the renewal of leases, and the check of the keys of a lease. */
import { createLocker, type Lock } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import type { Renewal } from '../../src/store/store.ts';
import {
  respondsAfter,
  type FaultyMemory,
  calls,
  type Fault,
  hangs,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

async function waitForBeats(memory: FaultyMemory, count: number): Promise<void> {
  for (let tries = 0; memory.store.count(calls.renew) < count && tries < 2_000; tries += 1) await memory.clock.advance(10);
  expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(count);
}

/** Sends the renewal, and changes its response. */
const changedResponse =
  (change: (renewal: Renewal) => Renewal): Fault =>
  async (send) =>
    change((await send()) as Renewal);

const gateKeyOf = (lock: Lock) => `locks/@sessions/${BigInt(lock.leaseId).toString(16)}`;

describe('the heartbeat', () => {
  test('the heartbeat renews once within each third of the TTL', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');

    await memory.clock.advance(150_000);

    // A beat comes after 4 to 5 s. The timer fires every 750 ms.
    expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(150 / 5.75 - 1);
    expect(memory.store.count(calls.renew)).toBeLessThanOrEqual(150 / 4 + 1);
  });

  test.each([600, 700, 800, 900])('the heartbeat renews a lease of 2 s in time when its grant takes %i ms', async (ms) => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.grant, respondsAfter(memory.clock, ms));
    const locking = follow(memory.createLocker({ ttlMs: 2_000 }).lock('a'));

    await memory.clock.advance(10_000);

    expect(locking.value?.held).toBe(true);
  });

  test('the heartbeat keeps its interval when responses are slow', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.renew, respondsAfter(memory.clock, 2_400));

    await memory.clock.advance(150_000);

    // The beats are 4 to 5.75 s apart. If each waited for the response of the last one, there would be only 20.
    expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(150 / 5.75 - 1);
    expect(lock.held).toBe(true);
  });

  test('the heartbeat retries at once after a failed beat', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.renew, lostRequest);

    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    expect(memory.store.count(calls.renew)).toBe(2);
    expect(lock.remainingMs).toBe(13_500);
  });

  test('the heartbeat retries with growing back-off until the deadline', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const stopFault = memory.store.every(calls.renew, lostRequest);

    await memory.clock.advance(12_000);
    const tries = memory.store.count(calls.renew);
    stopFault();
    await memory.clock.advance(1_000);

    expect(tries).toBeGreaterThan(5);
    expect(tries).toBeLessThan(30);
    expect(lock.held).toBe(true);
    expect(lock.remainingMs).toBeGreaterThan(12_000);
  });

  test.each(['its deadline', 'close()'])('the heartbeat does not renew a lease after %s ended its session', async (cause) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.renew, refused(new Error('no leader')));
    await memory.clock.advance(7_000);
    let countAtEnd: number | undefined;
    lock.signal.addEventListener('abort', () => (countAtEnd = memory.store.count(calls.renew)));

    if (cause === 'close()') await locker.close();
    await memory.clock.advance(20_000);

    expect(countAtEnd).toBeGreaterThan(2);
    expect(memory.store.count(calls.renew)).toBe(countAtEnd);
  });

  test('Lock stays held when a response says not renewed but has the gate', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(
      calls.renew,
      changedResponse(({ gate }) => ({ renewed: false, gate })),
    );

    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    expect(lock.held).toBe(true);
    expect(memory.store.count(calls.renew)).toBe(2);
    expect(lock.remainingMs).toBe(13_500);
  });

  test('the deadline does not move when responses say not renewed', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(
      calls.renew,
      changedResponse(({ gate }) => ({ renewed: false, gate })),
    );

    await memory.clock.advance(13_499);
    // The jitter of the retries leaves fractions of a millisecond in the clock.
    expect(lock.remainingMs).toBeCloseTo(1);
    await memory.clock.advance(1);

    expect(lock.held).toBe(false);
  });

  test('Lock is lost at the response when the gate is missing', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ delete: { key: gateKeyOf(lock) } }], otherwise: [] });

    await waitForBeats(memory, 1);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
  });

  test('Lock is lost at the response when another client created the gate again', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ delete: { key: gateKeyOf(lock) } }], otherwise: [] });
    const put = { key: gateKeyOf(lock), value: '', leaseId: lock.leaseId };
    memory.etcd.commit({ compare: [], then: [{ put }], otherwise: [] });

    await waitForBeats(memory, 1);

    expect(lock.held).toBe(false);
  });

  test('Lock stays held when another client puts the gate without deleting it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ put: { key: gateKeyOf(lock), value: 'again', leaseId: lock.leaseId } }], otherwise: [] });

    await memory.clock.advance(30_000);

    expect(lock.held).toBe(true);
  });

  test('the heartbeat lists keys once after the last entry is gone', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.withLock('a', () => undefined);

    await waitForBeats(memory, 2);

    expect(memory.store.count(calls.leaseKeys)).toBe(1);
  });

  test('Lock stays held when a list of keys lacks its entry but a linearizable read finds it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.leaseKeys, () => Promise.resolve(new Set()));

    await memory.clock.advance(60_000);

    expect(memory.store.count(calls.leaseKeys)).toBeGreaterThan(5);
    expect(lock.held).toBe(true);
  });

  test('Lock stays held when an older list of keys lacks its entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const { signal } = first;
    let respond: (keys: ReadonlySet<string>) => void = () => undefined;
    memory.store.next(calls.leaseKeys, () => new Promise((resolve) => (respond = resolve)));
    while (memory.store.count(calls.leaseKeys) === 0) await memory.clock.advance(10);
    await first.release();
    const second = await locker.lock('a');

    respond(new Set());
    await memory.clock.settle();

    expect(signal.aborted).toBe(false);
    expect(second.held).toBe(true);
  });

  test('the heartbeat continues when a list of keys hangs', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.leaseKeys, hangs);

    await memory.clock.advance(60_000);

    expect(lock.held).toBe(true);
  });

  test('Lock stays held when lists of keys fail', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.leaseKeys, refused(new Error('denied')));

    await memory.clock.advance(60_000);

    expect(lock.held).toBe(true);
  });
});

test('one renewal is enough when the wall clock jumps in the very millisecond of the last one', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await locker.lock('a');
  memory.store.every(calls.renew, respondsAfter(memory.clock, 100));
  memory.clock.jumpWall(10_000);

  const tried = follow(locker.tryLock('b'));
  await memory.clock.advance(500);

  expect(tried.value?.held).toBe(true);
  expect(memory.store.count(calls.renew)).toBe(1);
});

test('Lock stays held when many sessions of other TTLs open in quick succession', async () => {
  const clock = new ManualClock();
  await using locker = createLocker({ store: memoryStore({ clock }) });
  const lock = await locker.lock('x', { ttlMs: 2_000 });

  for (let ttlMs = 20_000; ttlMs < 60_000; ttlMs += 1_000) {
    await clock.advance(240);
    await locker.withLock('y', { ttlMs }, () => undefined);
  }

  expect(lock.held).toBe(true);
});
