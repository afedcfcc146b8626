/** Tests of a short TTL with slow looks: renewals and looks do not alternate for ever. */
import { EtcdUnavailableError, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, hangs, lostResponse, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { follow, type Followed } from '../support/fixtures/holding.ts';

// The deadline is 1 500 ms after the sending of a beat, and a new lock needs 667 ms of it.
// With these delays less than that remains at the end of each look.
const ttlMs = 2_000;
const renewMs = 300;
const lookMs = 1_300;

describe('a TTL of 2 s and looks that take longer than the deadline leaves', () => {
  test('lock() gets its lock when the holder releases', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const locker = memory.createLocker({ ttlMs });
    memory.store.every(calls.read, respondsAfter(memory.clock, lookMs));
    memory.store.every(calls.renew, after(memory.clock, renewMs));
    const waiting = follow(locker.lock('a'));
    await memory.clock.advance(3_000);

    await holder.release();
    await memory.clock.advance(5 * lookMs);

    expect(waiting.value?.held).toBe(true);
  });

  test('tryLock() of a shared lock, which looks before it enqueues, gets its lock', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs });
    await (await locker.lock('warm')).release();
    memory.store.every(calls.read, respondsAfter(memory.clock, lookMs));
    memory.store.every(calls.creation, after(memory.clock, 100));

    const tried = follow(locker.tryLock('a', { mode: 'shared' }));
    await memory.clock.advance(4 * lookMs);

    expect(tried.value?.held).toBe(true);
  });

  test('tryLock() gets its lock when the response to its creation comes late', async () => {
    await using memory = await openFaultyMemory();
    memory.store.every(calls.read, respondsAfter(memory.clock, lookMs));
    memory.store.every(calls.renew, after(memory.clock, renewMs));
    memory.store.every(calls.creation, respondsAfter(memory.clock, 900));

    const tried = follow(memory.createLocker().tryLock('a', { ttlMs }));
    await memory.clock.advance(4 * lookMs);

    expect(tried.value?.held).toBe(true);
  });

  test('tryLock() does not give out an entry that was deleted before the renewal', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.creation, respondsAfter(memory.clock, 900));
    memory.store.every(calls.renew, after(memory.clock, renewMs));

    const tried = follow(memory.createLocker().tryLock('a', { ttlMs }));
    await memory.clock.advance(500);
    for (const { key } of memory.entries('a')) memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    for (let tries = 0; tries < 300 && !tried.isSettled; tries += 1) await memory.clock.advance(10);

    expect(memory.entries('a')).toMatchObject([{ createRevision: tried.value?.fencingToken }]);
  });
});

test.each([
  ['in the renewal', 200],
  ['at its end', 900],
])('lock() does not give out an entry that was deleted before the renewal, after the look of another caller %s', async (_, lookAtMs) => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await locker.lock('open');
  const kind = { mode: 'shared' } as const;
  memory.store.next(calls.creation, (send) => send(), lostResponse);
  // With so late a grant the entry needs a renewal.
  memory.store.next(calls.grant, respondsAfter(memory.clock, 3_000));
  memory.store.next(calls.renew, respondsAfter(memory.clock, 1_000));
  memory.store.every(calls.leaseKeys, after(memory.clock, 100_000));
  const locking = follow(locker.lock('a', { ...kind, ttlMs: 5_000 }));
  await memory.clock.advance(3_000 + lookAtMs);
  const [entry] = memory.entries('a');
  memory.store.next(calls.read, (send) => send(), respondsAfter(memory.clock, 200));
  const other = follow(locker.lock('a', kind));
  await memory.clock.advance(50);
  memory.etcd.commit({ compare: [], then: [{ delete: { key: entry?.key ?? '' } }], otherwise: [] });
  await memory.clock.advance(1_500);

  expect(other.value?.held).toBe(true);
  expect(locking.value?.held).toBe(true);
  expect(locking.value?.fencingToken).toBeGreaterThan(entry?.createRevision ?? 0n);
});

/** Deletes the entry of a call that has no lock yet. The call must get its lock by another one. */
async function expectAnotherEntry(memory: FaultyMemory, locking: Followed<Lock | null>): Promise<void> {
  const [entry] = memory.entries('a');
  memory.etcd.commit({ compare: [], then: [{ delete: { key: entry?.key ?? '' } }], otherwise: [] });
  expect(locking.isSettled).toBe(false);
  await memory.clock.advance(10_000);

  expect(entry).toBeDefined();
  expect(locking.value?.fencingToken).toBeGreaterThan(entry?.createRevision ?? 0n);
}

test.each([
  ['lock', 'with a watch', 'during', 100],
  ['tryLock', 'with a watch', 'during', 100],
  ['lock', 'with a watch that breaks', 'during', 100],
  ['tryLock', 'with a watch that breaks', 'during', 100],
  ['lock', 'without a watch', 'just before', -100],
  ['tryLock', 'without a watch', 'just before', -100],
] as const)('%s() %s does not give out an entry that was deleted %s the second renewal', async (method, watch, _, deletedAtMs) => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker({ requestTimeoutMs: 20_000 });
  if (watch === 'without a watch') memory.store.breakWatches();
  // 5 400 ms until the deadline, and a new lock needs 2 000 of them. So it is renewed, and looked at once more.
  memory.store.next(calls.grant, respondsAfter(memory.clock, 3_600));
  memory.store.next(calls.read, respondsAfter(memory.clock, 3_600));
  memory.store.next(calls.renew, (send) => send());
  memory.store.every(calls.renew, respondsAfter(memory.clock, 3_000));
  memory.store.every(calls.leaseKeys, after(memory.clock, 100_000));
  const locking = follow(locker[method]('a', { ttlMs: 6_000 }));
  await memory.clock.advance(3_600 + 3_600 + deletedAtMs);
  if (watch === 'with a watch that breaks') memory.store.breakWatches();
  await expectAnotherEntry(memory, locking);
});

test.each(['lock', 'tryLock'] as const)('%s() looks again if the second renewal had to be repeated after its look', async (method) => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker({ requestTimeoutMs: 20_000 });
  memory.store.breakWatches();
  memory.store.next(calls.grant, respondsAfter(memory.clock, 3_600));
  memory.store.next(calls.read, respondsAfter(memory.clock, 3_600));
  const startedAtMs = memory.clock.now().monotonicMs;
  // The beat that is under way when the look is sent fails 200 ms later, and goes again.
  const fails = async (): Promise<never> => {
    const leftMs = startedAtMs + 7_400 - memory.clock.now().monotonicMs;
    await new Promise<void>((resolve) => void memory.clock.setTimer(leftMs, resolve));
    throw new EtcdUnavailableError(5_000, []);
  };
  memory.store.next(calls.renew, (send) => send(), fails);
  memory.store.every(calls.leaseKeys, after(memory.clock, 100_000));
  const locking = follow(locker[method]('a', { ttlMs: 6_000 }));
  await memory.clock.advance(3_600 + 3_600 + 100);
  await expectAnotherEntry(memory, locking);
});

test('tryLock() leaves no rejection without a handler when its time is up before a look with a renewal', async () => {
  await using memory = await openFaultyMemory();
  memory.store.breakWatches();
  memory.store.next(calls.grant, respondsAfter(memory.clock, 3_600));
  const fails = async (): Promise<never> => {
    await memory.clock.settle();
    throw new EtcdUnavailableError(5_000, []);
  };
  memory.store.next(calls.read, respondsAfter(memory.clock, 3_600), (send) => send(), fails);
  memory.store.next(calls.renew, (send) => send(), hangs);
  const trying = follow(memory.createLocker({ requestTimeoutMs: 8_000 }).tryLock('a', { ttlMs: 6_000 }));

  await memory.clock.advance(8_000);

  expect(trying.error).toBeInstanceOf(EtcdUnavailableError);
  memory.store.restoreWatches();
  await memory.clock.advance(10_000);
});

test('lock() with renew: false gets its lock when renewals take more than a tenth of the TTL', async () => {
  await using memory = await openFaultyMemory();
  const holder = await memory.createLocker().lock('a');
  const waiting = follow(memory.createLocker().lock('a', { renew: false }));
  memory.store.every(calls.renew, after(memory.clock, 2_000));
  await memory.clock.advance(10_000);

  await holder.release();
  await memory.clock.advance(10_000);

  expect(waiting.value?.held).toBe(true);
});
