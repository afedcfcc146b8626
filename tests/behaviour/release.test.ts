import { describe, expect, test } from 'vitest';
import { after, away, calls, hangs, late, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

describe('release()', () => {
  test('release() resolves at the end of the lease when etcd is away', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.any, away(memory.clock));

    const released = follow(lock.release());
    await memory.clock.advance(14_999);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
  });

  test('release() resolves at the end of the lease when its delete hangs for ever', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.any, hangs);

    const released = follow(lock.release());
    await memory.clock.advance(15_000);

    expect(released.isSettled).toBe(true);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('release() goes on until it is confirmed when etcd is away for a while', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const mend = memory.store.every(calls.deletion, away(memory.clock));
    const released = follow(lock.release());

    await memory.clock.advance(12_000);
    expect(released.isSettled).toBe(false);
    mend();
    await memory.clock.advance(6_000);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(memory.entries('a')).toEqual([]);
  });

  test('release() sends one delete when it is called twice', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.deletion, after(memory.clock, 100));

    const both = [lock.release(), lock.release()];
    await memory.clock.advance(100);
    await Promise.all(both);
    await lock.release();

    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('release() asks for nothing, and lets nobody in, when the lock was lost before', async () => {
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

  test('release() deletes nothing but its own entry when the key was made anew by somebody', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const { key } = lock;
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    memory.etcd.commit({ compare: [], then: [{ put: { key, value: 'theirs', leaseId: '0' } }], otherwise: [] });

    await lock.release();

    expect(memory.entries('a')).toMatchObject([{ key, value: 'theirs' }]);
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  });

  test('a delete that is applied late leaves the next lock alone', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const duplicate = late();
    memory.store.next(calls.deletion, duplicate.fault);
    const released = first.release();
    await memory.clock.advance(1_000);
    await released;
    const second = await locker.lock('a');

    await duplicate.apply();

    expect(memory.entries('a')).toMatchObject([{ key: second.key, createRevision: second.fencingToken }]);
  });
});
