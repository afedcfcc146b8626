/** Tests of a short TTL with slow looks: renewals and looks do not alternate for ever. */
import { describe, expect, test } from 'vitest';
import { after, respondsAfter, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

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
