/** Tests of `lock.wanted` under faults, and of what it costs. */
import { channel } from 'node:diagnostics_channel';
import { describe, expect, test, vi } from 'vitest';
import { after, calls, hangs, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const start = (waiting: Promise<unknown>): void => void errorOf(waiting);

describe('the cost of wanted', () => {
  test('is nothing before its first read: no watch and no request', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const watch = vi.spyOn(memory.store, 'watch');
    const lock = await locker.lock('a');
    start(locker.lock('a'));
    await memory.clock.settle();
    const keys = watch.mock.calls.map(([{ key }]) => key);
    expect(keys).toEqual([expect.stringContaining('@sessions/')]);
    expect(memory.store.count(calls.read)).toBe(0);

    JSON.stringify(lock);
    start(other.lock('a'));
    await memory.clock.settle();

    expect(watch.mock.calls.filter(([{ rangeEnd }]) => rangeEnd !== undefined)).toEqual([]);
  });

  test('is one watch for all reads, and no request if nothing happened since the lock was created', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    await memory.clock.settle();
    const before = [memory.store.calls.length, memory.etcd.watchCount] as const;

    for (let reads = 0; reads < 1_000; reads += 1) expect(lock.wanted.aborted).toBe(false);
    await memory.clock.settle();

    expect([memory.store.calls.length - before[0], memory.etcd.watchCount - before[1]]).toEqual([0, 1]);
    await lock.release();
    expect(memory.etcd.watchCount).toBe(before[1]);
  });

  test('is one request if other names have changed', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    await locker.withLock('b', () => undefined);
    await memory.clock.settle();
    const before = memory.store.calls.length;

    expect(lock.wanted.aborted).toBe(false);
    await memory.clock.settle();

    expect(memory.store.calls.length - before).toBe(1);
  });

  test('is no watch if a caller of this process waits already, and none once the lock is wanted', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    const distant = await locker.lock('b');
    await memory.clock.settle();
    const before = memory.etcd.watchCount;
    start(locker.lock('a'));

    expect(lock.wanted.aborted).toBe(true);
    expect(memory.etcd.watchCount).toBe(before);

    expect(distant.wanted.aborted).toBe(false);
    start(locker.lock('b'));
    await memory.clock.settle();
    expect(distant.wanted.aborted).toBe(true);
    expect(memory.etcd.watchCount).toBe(before);
    await other.close();
  });

  test('is no message on a channel, and no line of the log', async () => {
    await using memory = await openFaultyMemory();
    const messages: unknown[] = [];
    const names = ['acquire:start', 'held', 'released', 'lost'].map((name) => channel(`etcd-locker:${name}`));
    const lines: unknown[] = [];
    const log = (line: unknown) => lines.push(line);
    const locker = memory.createLocker({ logger: { debug: log, info: log, warn: log, error: log } });
    const lock = await locker.lock('a');
    const other = memory.createLocker();
    await memory.clock.settle();
    lines.length = 0;
    const listen = (message: unknown) => messages.push(message);
    for (const name of names) name.subscribe(listen);

    const { wanted } = lock;
    memory.etcd.commit({ compare: [], then: [{ put: { key: 'locks/a/77', value: '', leaseId: '0' } }], otherwise: [] });
    await memory.clock.settle();

    for (const name of names) name.unsubscribe(listen);
    expect([wanted.aborted, messages, lines]).toEqual([true, [], []]);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/77' } }], otherwise: [] });
    await other.close();
  });
});

describe('wanted', () => {
  test('runs no listener inside of the lock() of the caller that waits', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    const events: string[] = [];
    lock.wanted.addEventListener('abort', () => events.push('wanted'));

    start(locker.lock('a'));
    events.push('called');
    await memory.clock.settle();

    expect(events).toEqual(['called', 'wanted']);
  });

  test('lets its listener release the lock, and the caller that waits gets it', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    lock.wanted.addEventListener('abort', () => void lock.release());

    const next = follow(other.lock('a'));
    await memory.clock.settle();

    expect(next.value?.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
  });

  test.each([1, 100, 60_000])('notices a contender of a break of %i ms when the watch begins again', async (breakMs) => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    const { wanted } = lock;
    await memory.clock.settle();

    memory.store.breakWatches();
    start(other.lock('a'));
    await memory.clock.advance(breakMs);
    expect(wanted.aborted).toBe(false);
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(wanted.aborted).toBe(true);
  });

  test('notices it in an outage as soon as etcd responds', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    start(other.lock('a'));
    await memory.clock.settle();
    const restore = memory.store.every(calls.read, lostRequest);
    const { wanted } = lock;
    await memory.clock.advance(3_000);
    expect(wanted.aborted).toBe(false);

    restore();
    await memory.clock.advance(1_000);

    expect([wanted.aborted, lock.held]).toEqual([true, true]);
  });

  test('does not abort after the deadline, when its look is answered late', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker({ ttlMs: 10_000 }), memory.createLocker()];
    const lock = await locker.lock('a');
    start(other.lock('a'));
    await memory.clock.settle();
    memory.store.next(calls.read, after(memory.clock, 20_000));
    memory.store.every(calls.renew, hangs);
    const { wanted, signal } = lock;

    await memory.clock.advance(30_000);

    expect([signal.aborted, wanted.aborted]).toEqual([true, false]);
  });

  test('does not abort if the process was frozen past the deadline before it notices the contender', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ ttlMs: 10_000 }).lock('a');
    const { wanted, signal } = lock;
    await memory.clock.settle();

    memory.clock.freeze(9_500);
    memory.etcd.commit({ compare: [], then: [{ put: { key: 'locks/a/77', value: '', leaseId: '0' } }], otherwise: [] });
    for (let microtasks = 0; microtasks < 20; microtasks += 1) await Promise.resolve();

    expect([signal.aborted, wanted.aborted]).toEqual([true, false]);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/77' } }], otherwise: [] });
  });

  test('does not abort after maxHoldMs', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', { maxHoldMs: 1_000 });
    const { wanted, signal } = lock;
    await memory.clock.advance(1_000);
    await other.lock('a');
    start(locker.lock('a'));
    await memory.clock.settle();

    expect([signal.aborted, wanted.aborted]).toEqual([true, false]);
  });

  test('ends its watch in the step of the release, of the loss, and of the end of the locker', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [released, limited, deleted, closed] = await Promise.all(
      ['released', 'limited', 'deleted', 'closed'].map((name) => locker.lock(name, { maxHoldMs: name === 'limited' ? 1_000 : undefined })),
    );
    await memory.clock.settle();
    const before = memory.etcd.watchCount;
    for (const lock of [released, limited, deleted, closed]) expect(lock?.wanted.aborted).toBe(false);
    await memory.clock.settle();
    const watches = (): number => memory.etcd.watchCount - before;
    expect(watches()).toBe(4);

    void released?.release();
    expect(watches()).toBe(3);
    memory.clock.freeze(1_000);
    expect([limited?.held, watches()]).toEqual([false, 2]);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: deleted?.key ?? '' } }], otherwise: [] });
    await memory.clock.settle();
    expect([deleted?.held, watches()]).toEqual([false, 1]);
    await locker.close();
    expect(memory.etcd.watchCount).toBe(0);
  });

  test.each(['released', 'lost'])('begins no watch, and sends no request, if it is first read when the lock is %s', async (end) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    if (end === 'released') await lock.release();
    else memory.clock.freeze(60_000);
    const before = [memory.store.calls.length, memory.etcd.watchCount] as const;

    const { wanted } = lock;
    if (end === 'released') await memory.clock.settle();

    expect(wanted.aborted).toBe(false);
    expect(memory.store.calls.length).toBeLessThanOrEqual(before[0] + (end === 'lost' ? 1 : 0));
    expect(memory.etcd.watchCount).toBeLessThanOrEqual(before[1]);
  });

  test('is told of a caller that waits behind a caller of another kind', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', { mode: 'shared' });
    const { wanted } = lock;
    start(locker.lock('a', { slots: 2 }));
    await memory.clock.settle();

    expect(wanted.aborted).toBe(true);
  });

  test('passes from hold to hold: each lock is wanted as long as callers wait for it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const seen: boolean[] = [];
    const hold = () => locker.withLock('a', (lock) => void seen.push(lock.wanted.aborted));

    const all = Promise.all([hold(), hold(), hold()]);
    await memory.clock.settle();
    await all;

    expect(seen).toEqual([true, true, false]);
  });
});
