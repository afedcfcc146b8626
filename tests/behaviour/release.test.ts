/** Tests of release() during an outage, and of deletions that etcd applies late. */
import { describe, expect, test } from 'vitest';
import { after, unreachable, calls, hangs, appliedLater, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

describe('release()', () => {
  test('release() resolves at the end of the lease during an outage', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.any, unreachable(memory.clock));

    const released = follow(lock.release());
    await memory.clock.advance(14_999);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
  });

  test('release() resolves at the end of the lease when its deletion hangs for ever', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.any, hangs);

    const released = follow(lock.release());
    await memory.clock.advance(15_000);

    expect(released.isSettled).toBe(true);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('release() retries during an outage until etcd confirms the deletion', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const stopFault = memory.store.every(calls.deletion, unreachable(memory.clock));
    const released = follow(lock.release());

    await memory.clock.advance(12_000);
    expect(released.isSettled).toBe(false);
    stopFault();
    await memory.clock.advance(6_000);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(memory.entries('a')).toEqual([]);
  });

  test('release() sends one deletion when it is called twice', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.deletion, after(memory.clock, 100));

    const both = [lock.release(), lock.release()];
    await memory.clock.advance(100);
    await Promise.all(both);
    await lock.release();

    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('release() sends no request, and admits no waiter, when the lock was already lost', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lost = await locker.lock('a');
    memory.clock.freeze(20_000);
    expect(lost.held).toBe(false);
    const next = await locker.lock('a');
    const waiting = follow(locker.lock('a'));
    const before = memory.store.calls.length;

    await lost.release();
    await lost[Symbol.asyncDispose]();
    await memory.clock.settle();

    expect(memory.store.calls.slice(before)).toEqual([]);
    expect(next.held).toBe(true);
    expect(waiting.isSettled).toBe(false);
  });

  test('release() deletes only its own entry when another client created the key again', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const { key } = lock;
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    memory.etcd.commit({ compare: [], then: [{ put: { key, value: 'theirs', leaseId: '0' } }], otherwise: [] });

    await lock.release();

    expect(memory.entries('a')).toMatchObject([{ key, value: 'theirs' }]);
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  });

  test('a deletion that etcd applies late does not delete the next entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const duplicate = appliedLater();
    memory.store.next(calls.deletion, duplicate.fault);
    const released = first.release();
    await memory.clock.advance(1_000);
    await released;
    const second = await locker.lock('a');

    await duplicate.apply();

    expect(memory.entries('a')).toMatchObject([{ key: second.key, createRevision: second.fencingToken }]);
  });
});
