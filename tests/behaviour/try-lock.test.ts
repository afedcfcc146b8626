/** Tests of tryLock() under faults. */
import { describe, expect, test } from 'vitest';
import { internalsOf } from '../../src/locker/internals.ts';
import { type Call, calls, gatesOf, hangs, lostRequest, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

const timeOf = (call: Call | undefined): number => (call?.method === 'commit' ? (call.options.timeoutMs ?? NaN) : NaN);

describe('tryLock()', () => {
  test('tryLock() creates no entry in a queue that is not empty', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const events: string[] = [];
    const stop = memory.etcd.watch({ key: 'locks/a/', rangeEnd: 'locks/a0' }, (seen) => {
      events.push(...seen.map(({ type, kv }) => `${type} ${kv.key}`));
    });

    expect(await memory.createLocker().tryLock('a')).toBeNull();
    await memory.clock.advance(1_000);

    expect(events).toEqual([]);
    stop();
  });

  test('tryLock() sends no request when the same locker holds the lock', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a');
    const before = memory.store.calls.length;

    expect(await locker.tryLock('a')).toBeNull();

    expect(memory.store.calls.length).toBe(before);
  });

  test('tryLock() retries, and does not return null, when only the gate moved', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const open = await locker.lock('open');
    const key = `locks/@sessions/${BigInt(open.leaseId).toString(16)}`;
    memory.etcd.commit({ compare: [], then: [{ put: { key, value: 'moved', leaseId: open.leaseId } }], otherwise: [] });

    const lock = await locker.tryLock('a');

    expect(lock?.held).toBe(true);
    expect(gatesOf(memory.store)).toHaveLength(3);
  });

  test('tryLock() uses a new session, and does not return null, when the gate is missing', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const open = await locker.lock('open');
    memory.etcd.revoke(open.leaseId);

    const lock = await locker.tryLock('a');

    expect(lock?.held).toBe(true);
    expect(lock?.leaseId).not.toBe(open.leaseId);
    expect(open.held).toBe(false);
  });

  test('tryLock() gets the lock again when its own lock expired during a freeze', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    memory.clock.freeze(20_000);
    await memory.clock.advance(0);

    const second = await locker.tryLock('a');

    expect(second?.fencingToken).toBeGreaterThan(first.fencingToken);
  });

  test.each([
    // With so late a grant the entry needs a renewal.
    ['grant', 900],
    // The response comes after the end of the session.
    ['creation', 1_900],
  ] as const)('tryLock() does not take its own entry of a lost lease for that of somebody else: a late %s', async (late, lateMs) => {
    await using memory = await openFaultyMemory();
    // etcd prolongs the lease, and its responses are lost.
    memory.store.next(calls[late], respondsAfter(memory.clock, lateMs));
    memory.store.every(calls.read, respondsAfter(memory.clock, 100));
    const renewals = memory.store.every(calls.renew, respondsAfter(memory.clock, 400, false));
    memory.store.every(calls.revoke, lostRequest);
    const tried = follow(memory.createLocker().tryLock('a', { ttlMs: 2_000 }));
    await memory.clock.advance(1_900);
    expect(tried.isSettled).toBe(false);
    renewals();

    await memory.clock.advance(1_000);

    expect(tried.value?.held).toBe(true);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([tried.value?.key]);
    // The read before the deletion took some of the time of the call.
    const [read, deletion] = [calls.read, calls.deletion].map((match) => memory.store.calls.findLast(match));
    expect(timeOf(deletion)).toBe(timeOf(read) - 100);
  });

  test('tryLock() that is aborted while its creation gets no response delays no later caller', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, hangs);
    const controller = new AbortController();
    const tried = follow(locker.tryLock('a', { signal: controller.signal }));
    const waiting = follow(locker.lock('a'));
    await memory.clock.advance(100);
    expect(waiting.isSettled).toBe(false);

    controller.abort();
    await memory.clock.advance(1);

    expect(tried.isSettled).toBe(true);
    expect(waiting.value?.held).toBe(true);
  });

  test('tryLock() and lock() of one locker at once get the lock one after the other', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, respondsAfter(memory.clock, 500));
    const tried = follow(locker.tryLock('a'));
    const waiting = follow(locker.lock('a'));
    await memory.clock.advance(600);

    expect(tried.value?.held).toBe(true);
    expect(waiting.isSettled).toBe(false);
    await tried.value?.release();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.fencingToken).toBeGreaterThan(tried.value?.fencingToken ?? 0n);
  });

  test('tryLock() returns null if an earlier caller of its process has got the lock, even if that has released it by then', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('The locker has no internals');
    memory.store.next(calls.grant, respondsAfter(memory.clock, 500));
    // Without the promises of the public call, so that the release comes before tryLock() looks again.
    const released = [1, 2].map(() => internals.queues.lock('a', internals.resolve()).then((lock) => lock.release()));
    const tried = follow(locker.tryLock('a'));
    await memory.clock.advance(500);
    await Promise.all(released);

    expect(tried).toMatchObject({ isSettled: true, value: null, error: undefined });
  });

  test('tryLock() returns null, and leaves no entry, when another locker enqueued while its outcome was unknown', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await locker.lock('open');
    memory.store.next(calls.creation, lostRequest);
    memory.store.next(calls.gateMove, respondsAfter(memory.clock, 1_000));
    const tried = follow(locker.tryLock('a'));
    await memory.clock.advance(500);
    const theirs = await other.lock('a');

    await memory.clock.advance(1_000);

    expect(tried).toMatchObject({ isSettled: true, value: null });
    expect(memory.entries('a').map(({ key }) => key)).toEqual([theirs.key]);
  });
});
