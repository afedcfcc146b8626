/** Tests of waiting: when a waiter looks, and what it needs before it holds the lock. */
import { describe, expect, test } from 'vitest';
import { respondsAfter, unreachable, calls, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

describe('waiting', () => {
  test('a waiter looks once in each third of the TTL when nothing happens', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker({ ttlMs: 15_000 }).lock('a'));
    await memory.clock.settle();
    const before = memory.store.count(calls.read);

    await memory.clock.advance(60_000);

    const looks = memory.store.count(calls.read) - before;
    expect(looks).toBeGreaterThanOrEqual(60 / 5.75 - 1);
    expect(looks).toBeLessThanOrEqual(60 / 5);
    expect(waiting.isSettled).toBe(false);
  });

  test('a waiter gets the lock by its next periodic look when its watch missed the deletion', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker().lock('a'));
    await memory.clock.settle();
    memory.store.breakWatches();
    await holder.release();

    await memory.clock.advance(4_000);
    expect(waiting.isSettled).toBe(false);
    await memory.clock.advance(2_000);

    expect((await waiting.promise).held).toBe(true);
  });

  test('a waiter whose entry holds in etcd is in inspect() as a holder, and not as a local waiter', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await other.lock('a');
    const waiting = follow(locker.lock('a', { value: 'next' }));
    await memory.clock.settle();
    memory.store.breakWatches();
    await holder.release();

    const state = await locker.inspect('a');

    expect(waiting.isSettled).toBe(false);
    expect(state).toMatchObject({ holders: [{ value: 'next' }], waiting: 0, localWaiting: 0 });
    await memory.clock.advance(6_000);
    await (await waiting.promise).release();
  });

  test('a waiter looks once more when its watch was confirmed only after the deletion', async () => {
    await using memory = await openFaultyMemory();
    memory.store.breakWatches();
    const holder = await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker().lock('a'));
    await memory.clock.settle();
    await holder.release();
    expect(waiting.isSettled).toBe(false);

    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
  });

  test('a waiter does not look again when its watch starts at the revision of its look', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker().lock('a'));

    await memory.clock.settle();

    expect(memory.store.count(calls.read)).toBe(0);
    expect(waiting.isSettled).toBe(false);
  });

  test('a waiter watches its new predecessor when its predecessor was aborted', async () => {
    await using memory = await openFaultyMemory();
    const [one, other, third] = [memory.createLocker(), memory.createLocker(), memory.createLocker()];
    const holder = await one.lock('a');
    const controller = new AbortController();
    const aborted = follow(other.lock('a', { signal: controller.signal }));
    await memory.clock.settle();
    const last = follow(third.lock('a'));
    await memory.clock.settle();

    controller.abort();
    await memory.clock.settle();
    expect(aborted.error).toBe(controller.signal.reason);
    expect(last.isSettled).toBe(false);
    await holder.release();
    await memory.clock.settle();

    expect(last.value?.held).toBe(true);
  });

  test('a waiter whose look fails looks again, and keeps its entry', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker().lock('a'));
    await memory.clock.settle();
    const [, entry] = memory.entries('a');
    memory.store.next(calls.read, lostRequest, lostRequest);

    await holder.release();
    await memory.clock.advance(1_000);

    expect(waiting.value?.fencingToken).toBe(entry?.createRevision);
  });

  test('a release makes only the first waiter look', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const waiting = [];
    for (let count = 0; count < 10; count += 1) {
      waiting.push(follow(memory.createLocker().lock('a')));
      await memory.clock.settle();
    }
    const before = memory.store.count(calls.read);

    await holder.release();
    await memory.clock.settle();

    expect(waiting.map(({ isSettled }) => isSettled).filter(Boolean)).toHaveLength(1);
    expect(memory.store.count(calls.read) - before).toBe(1);
  });
});

describe('acquiring', () => {
  test('a waiter renews, and looks again, when its deadline is near at its turn', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 600_000 }), memory.createLocker()];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    const stopFault = memory.store.every(calls.renew, unreachable(memory.clock));
    await memory.clock.advance(9_000);

    const release = holder.release();
    await memory.clock.advance(100);
    await release;
    expect(waiting.isSettled).toBe(false);
    stopFault();
    const before = memory.store.calls.length;
    await memory.clock.advance(3_000);

    const order = memory.store.calls.slice(before).map((call) => (calls.renew(call) ? 'renew' : calls.read(call) ? 'look' : call.method));
    expect(order.indexOf('renew')).toBeGreaterThanOrEqual(0);
    expect(order.lastIndexOf('look')).toBeGreaterThan(order.indexOf('renew'));
    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.remainingMs).toBeGreaterThan(5_000);
  });

  test('a waiter does not get the lock by a look before its renewal when its entry was deleted since', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 600_000 }), memory.createLocker()];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    const [, entry] = memory.entries('a');
    const stopFault = memory.store.every(calls.renew, unreachable(memory.clock));
    await memory.clock.advance(9_000);
    const release = holder.release();
    await memory.clock.advance(100);
    await release;

    memory.etcd.commit({ compare: [], then: [{ delete: { key: entry?.key ?? '' } }], otherwise: [] });
    const later = await one.lock('a');
    stopFault();
    await memory.clock.advance(4_000);

    expect(later.held).toBe(true);
    expect(waiting.isSettled).toBe(false);
    await later.release();
    await memory.clock.settle();
    expect(waiting.value?.fencingToken).toBeGreaterThan(later.fencingToken);
  });

  test.each(['lock', 'tryLock'] as const)('%s() renews before it resolves when the enqueue took most of the TTL', async (member) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 60_000 });
    await locker.lock('open');
    memory.store.every(calls.renew, lostRequest);
    memory.store.next(calls.creation, respondsAfter(memory.clock, 9_000));
    const call = follow(locker[member]('a'));

    await memory.clock.advance(9_000);
    expect(call.isSettled).toBe(false);
    memory.store.clearFaults();
    await memory.clock.advance(1_500);

    expect(call.value?.held).toBe(true);
    expect(call.value?.remainingMs).toBeGreaterThan(5_000);
  });

  test('lock() enqueues in a new session when the deadline passed before the response of the enqueue', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 60_000 });
    const open = await locker.lock('open');
    memory.store.every(calls.renew, lostRequest);
    memory.store.next(calls.creation, respondsAfter(memory.clock, 14_500));
    const call = follow(locker.lock('a'));

    await memory.clock.advance(14_500);
    memory.store.clearFaults();
    await memory.clock.advance(1_000);

    expect(open.held).toBe(false);
    expect(call.value?.held).toBe(true);
    expect(call.value?.leaseId).not.toBe(open.leaseId);
    expect(memory.entries('a')).toHaveLength(1);
  });
});
