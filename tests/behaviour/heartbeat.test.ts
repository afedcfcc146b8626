import { createLocker, type Lock } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import type { Renewal } from '../../src/store/store.ts';
import {
  answeredAfter,
  type FaultyMemory,
  calls,
  type Fault,
  hangs,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

async function untilBeats(memory: FaultyMemory, count: number): Promise<void> {
  for (let tries = 0; memory.store.count(calls.renew) < count && tries < 2_000; tries += 1) await memory.clock.advance(10);
  expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(count);
}

/** A renewal whose answer is made up from the true one. */
const answers =
  (change: (renewal: Renewal) => Renewal): Fault =>
  async (send) =>
    change((await send()) as Renewal);

const atGate = (lock: Lock) => `locks/@sessions/${BigInt(lock.leaseId).toString(16)}`;

describe('the heartbeat', () => {
  test('the heartbeat renews within a third of the TTL, and not all the time', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');

    await memory.clock.advance(150_000);

    // A beat comes after 4 to 5 s, on a tick of 750 ms.
    expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(150 / 5.75 - 1);
    expect(memory.store.count(calls.renew)).toBeLessThanOrEqual(150 / 4 + 1);
  });

  test.each([600, 700, 800, 900])('renews in time a lease of 2 s that etcd took %i ms to grant', async (ms) => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.grant, answeredAfter(memory.clock, ms));
    const locking = follow(memory.createLocker({ ttlMs: 2_000 }).lock('a'));

    await memory.clock.advance(10_000);

    expect(locking.value?.held).toBe(true);
  });

  test('the heartbeat is not put off by answers that are slow', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.renew, answeredAfter(memory.clock, 2_400));

    await memory.clock.advance(150_000);

    // Each is sent 4 to 5 s after the one before, or on the next tick of 750 ms; 2.4 s more between them would be 20 of them.
    expect(memory.store.count(calls.renew)).toBeGreaterThanOrEqual(150 / 5.75 - 1);
    expect(lock.held).toBe(true);
  });

  test('the heartbeat goes again at once when a beat failed', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.renew, lostRequest);

    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    expect(memory.store.count(calls.renew)).toBe(2);
    expect(lock.remainingMs).toBe(13_500);
  });

  test('the heartbeat goes on, more and more slowly, as long as the deadline has not passed', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const mend = memory.store.every(calls.renew, lostRequest);

    await memory.clock.advance(12_000);
    const tries = memory.store.count(calls.renew);
    mend();
    await memory.clock.advance(1_000);

    expect(tries).toBeGreaterThan(5);
    expect(tries).toBeLessThan(30);
    expect(lock.held).toBe(true);
    expect(lock.remainingMs).toBeGreaterThan(12_000);
  });

  test.each(['its deadline', 'close()'])('the heartbeat leaves a lease alone once its session was ended by %s', async (what) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.renew, refused(new Error('no leader')));
    await memory.clock.advance(7_000);
    let atTheEnd: number | undefined;
    lock.signal.addEventListener('abort', () => (atTheEnd = memory.store.count(calls.renew)));

    if (what === 'close()') await locker.close();
    await memory.clock.advance(20_000);

    expect(atTheEnd).toBeGreaterThan(2);
    expect(memory.store.count(calls.renew)).toBe(atTheEnd);
  });

  test('Lock is not lost when a renewal is answered with no although the gate is there', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(
      calls.renew,
      answers(({ gate }) => ({ renewed: false, gate })),
    );

    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    expect(lock.held).toBe(true);
    expect(memory.store.count(calls.renew)).toBe(2);
    expect(lock.remainingMs).toBe(13_500);
  });

  test('the deadline does not move when a renewal is answered with no', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(
      calls.renew,
      answers(({ gate }) => ({ renewed: false, gate })),
    );

    await memory.clock.advance(13_499);
    // The jitter of the retries leaves fractions of a millisecond in the clock.
    expect(lock.remainingMs).toBeCloseTo(1);
    await memory.clock.advance(1);

    expect(lock.held).toBe(false);
  });

  test('Lock is lost at the answer when the gate is gone', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ delete: { key: atGate(lock) } }], otherwise: [] });

    await untilBeats(memory, 1);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
  });

  test('Lock is lost at the answer when the gate was made anew by somebody', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ delete: { key: atGate(lock) } }], otherwise: [] });
    const put = { key: atGate(lock), value: '', leaseId: lock.leaseId };
    memory.etcd.commit({ compare: [], then: [{ put }], otherwise: [] });

    await untilBeats(memory, 1);

    expect(lock.held).toBe(false);
  });

  test('Lock is not lost when the gate was put again', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.etcd.commit({ compare: [], then: [{ put: { key: atGate(lock), value: 'again', leaseId: lock.leaseId } }], otherwise: [] });

    await memory.clock.advance(30_000);

    expect(lock.held).toBe(true);
  });

  test('the heartbeat asks for no keys when nothing is held', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.withLock('a', () => undefined);

    await untilBeats(memory, 2);

    expect(memory.store.count(calls.leaseKeys)).toBe(0);
  });

  test('Lock is not lost when a list of keys lacks it but a linearizable read finds it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.leaseKeys, () => Promise.resolve(new Set()));

    await memory.clock.advance(60_000);

    expect(memory.store.count(calls.leaseKeys)).toBeGreaterThan(5);
    expect(lock.held).toBe(true);
  });

  test('Lock is not lost when a list of keys from before its release and new lock lacks it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const { signal } = first;
    let answer: (keys: ReadonlySet<string>) => void = () => undefined;
    memory.store.next(calls.leaseKeys, () => new Promise((resolve) => (answer = resolve)));
    while (memory.store.count(calls.leaseKeys) === 0) await memory.clock.advance(10);
    await first.release();
    const second = await locker.lock('a');

    answer(new Set());
    await memory.clock.settle();

    expect(signal.aborted).toBe(false);
    expect(second.held).toBe(true);
  });

  test('the heartbeat does not wait for a list of keys that never comes', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.leaseKeys, hangs);

    await memory.clock.advance(60_000);

    expect(lock.held).toBe(true);
  });

  test('Lock outlives lists of keys that fail', async () => {
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
  memory.store.every(calls.renew, answeredAfter(memory.clock, 100));
  memory.clock.jumpWall(10_000);

  const tried = follow(locker.tryLock('b'));
  await memory.clock.advance(500);

  expect(tried.value?.held).toBe(true);
  expect(memory.store.count(calls.renew)).toBe(1);
});

test('Lock is kept when sessions of other TTLs are opened in quick succession', async () => {
  const clock = new ManualClock();
  await using locker = createLocker({ store: memoryStore({ clock }) });
  const lock = await locker.lock('x', { ttlMs: 2_000 });

  for (let ttlMs = 20_000; ttlMs < 60_000; ttlMs += 1_000) {
    await clock.advance(240);
    await locker.withLock('y', { ttlMs }, () => undefined);
  }

  expect(lock.held).toBe(true);
});
