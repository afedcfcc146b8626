/** Tests of keepMs under faults: a kept lock is given out only while its session and its watch are sound, and it is given back in time. */
import { EtcdRefusedError, EtcdUnavailableError, LockerClosedError, LockLostError } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { after, calls, hangs, lostResponse, openFaultyMemory, refused, respondsAfter, unreachable } from '../support/fixtures/faults.ts';
import { errorOf, follow, keep } from '../support/fixtures/holding.ts';
import { trackRequest } from '../support/fixtures/web-locks.ts';

const options = { keepMs: 60_000 };

describe('the time of a kept lock', () => {
  test('ends after keepMs, and a hold in between begins it anew', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker, 'a', 10_000);
    await memory.clock.advance(9_000);
    const lock = await locker.lock('a', { keepMs: 10_000 });
    await memory.clock.advance(20_000);
    expect(lock.held).toBe(true);
    await lock.release();

    await memory.clock.advance(9_999);
    expect(memory.entries('a')).toHaveLength(1);
    await memory.clock.advance(1);
    expect(memory.entries('a')).toEqual([]);
    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('ends for each name by itself, with one timer', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker, 'a', 20_000);
    const timers = memory.clock.timerCount;
    await keep(memory, locker, 'b', 10_000);
    await keep(memory, locker, 'c', 30_000);
    expect(memory.clock.timerCount).toBe(timers);

    const left: string[] = [];
    for (let seconds = 0; seconds < 3; seconds += 1) {
      await memory.clock.advance(10_000);
      left.push(['a', 'b', 'c'].filter((name) => memory.entries(name).length > 0).join(''));
    }

    expect(left).toEqual(['ac', 'c', '']);
  });

  test('does not keep the process alive, and lets the session end when nothing else uses it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    expect(memory.clock.isHeld).toBe(false);
    expect(memory.etcd.leaseIds).toHaveLength(1);

    await memory.clock.advance(60_000);
    expect(memory.etcd.leaseIds).toHaveLength(1);
    await memory.clock.advance(30_000);

    expect(memory.etcd.leaseIds).toEqual([]);
  });

  test('ends early for those that were used longest ago, beyond a thousand', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const names = Array.from({ length: 1_000 }, (_, n) => `name-${String(n)}`);
    for (const name of names) await (await locker.lock(name, options)).release();
    await (await locker.lock('name-0', options)).release();
    await memory.clock.settle();

    await (await locker.lock('another', options)).release();
    await memory.clock.settle();

    expect(names.filter((name) => memory.entries(name).length === 0)).toEqual(['name-1']);
    expect(memory.entries('another')).toHaveLength(1);
  });
});

describe('a kept lock is not given out', () => {
  test('after a minute in which the process was frozen', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const old = await keep(memory, locker);

    memory.clock.freeze(60_000);
    const taken = follow(locker.lock('a', options));
    expect(follow(locker.tryLock('a', options)).isSettled).toBe(false);
    await memory.clock.settle();

    expect(taken.value?.fencingToken).not.toBe(old.fencingToken);
    const waiting = follow(other.lock('a'));
    await taken.value?.release();
    await memory.clock.advance(20_000);
    expect(waiting.value?.held).toBe(true);
  });

  test('after a freeze that is longer than keepMs and shorter than the lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 120_000 });
    const old = await keep(memory, locker, 'a', 10_000);

    memory.clock.freeze(11_000);
    const lock = await locker.lock('a', { keepMs: 10_000 });

    expect(lock.fencingToken).toBeGreaterThan(old.fencingToken);
    // One hand-over: the own entry is never in its way.
    expect(memory.store.count(calls.handOver)).toBe(1);
  });

  test('when the deadline of its session is near', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 15_000 });
    const old = await keep(memory, locker);
    memory.store.every(calls.renew, unreachable(memory.clock));
    await memory.clock.advance(8_000);
    const taken = await locker.lock('a', options);
    expect(taken.fencingToken).toBe(old.fencingToken);
    await taken.release();

    await memory.clock.advance(2_500);

    // Less than a third of the TTL is left.
    expect(memory.entries('a')).toEqual([]);
    expect(memory.store.count(calls.deletion)).toBe(1);
  });

  test('when its session takes no new entries', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    const other = await locker.lock('b');
    memory.store.next(calls.deletion, refused(new EtcdRefusedError('etcdserver: corrupt', { isFinal: true })));
    await errorOf(other.release());

    const lock = await locker.lock('a', options);

    expect(lock.fencingToken).toBeGreaterThan(old.fencingToken);
    expect(lock.leaseId).not.toBe(old.leaseId);
  });

  test('nor kept, when its session takes no new entries: a release deletes it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lock, other] = [await locker.lock('a', options), await locker.lock('b')];
    memory.store.next(calls.deletion, refused(new EtcdRefusedError('etcdserver: corrupt', { isFinal: true })));
    await errorOf(other.release());

    await lock.release();

    expect(memory.entries('a')).toEqual([]);
  });

  test('nor kept, when a caller of another kind already has an entry behind it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    const readers = [follow(locker.lock('a', { mode: 'shared' })), follow(locker.lock('a', { mode: 'shared' }))];
    await memory.clock.settle();
    memory.store.next(calls.deletion, respondsAfter(memory.clock, 1_000));

    const released = follow(lock.release());
    await memory.clock.settle();

    expect(readers.map(({ value }) => value?.held)).toEqual([true, true]);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1_000);
    expect(released.isSettled).toBe(true);
  });

  test('after this process has stolen the name, even without a watch', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    memory.store.breakWatches();
    const thief = trackRequest(webLocks(locker), 'a', { steal: true });
    await memory.clock.settle();

    expect(thief.granted).toBe(1);
    expect(await locker.tryLock('a', options)).toBeNull();
    thief.finish();
    const lock = await locker.lock('a', options);
    expect(lock.fencingToken).toBeGreaterThan(old.fencingToken);
    expect(memory.entries('a')).toMatchObject([{ createRevision: lock.fencingToken }]);
  });

  test('to a caller of another kind or with another TTL: the entry is handed over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('b', { ttlMs: 30_000 });

    for (const wanted of [{ mode: 'shared' }, { slots: 3 }, { ttlMs: 30_000, ...options }] as const) {
      await keep(memory, locker);
      const before = memory.store.count(calls.handOver);
      const lock = await locker.lock('a', wanted);
      expect(lock.held).toBe(true);
      expect(memory.store.count(calls.handOver)).toBe(before + 1);
      expect(memory.entries('a')).toMatchObject([{ key: lock.key }]);
      await lock.release();
      await memory.clock.advance(60_000);
    }
  });

  test('to a tryLock() of another kind, which deletes it first', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);

    const lock = await locker.tryLock('a', { mode: 'shared' });

    expect(lock?.held).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ key: lock?.key }]);
  });

  test('while it is being given back, and tryLock() is not null for that', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker, 'a', 10_000);
    memory.store.next(calls.deletion, after(memory.clock, 1_000));
    await memory.clock.advance(10_000);

    const taken = follow(locker.tryLock('a', options));
    await memory.clock.advance(1_000);

    expect(taken.value?.held).toBe(true);
  });
});

describe('the watch behind a kept lock', () => {
  test('gives the lock back if it is not confirmed within half of requestTimeoutMs, and a hold in between does not extend that', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 4_000 });
    memory.store.breakWatches();
    const old = await keep(memory, locker);
    await memory.clock.advance(1_500);
    const lock = await locker.lock('a', options);
    expect(lock.fencingToken).toBe(old.fencingToken);
    await lock.release();
    await memory.clock.advance(499);
    expect(memory.entries('a')).toHaveLength(1);

    await memory.clock.advance(1);

    expect(memory.entries('a')).toEqual([]);
  });

  test('lets nobody keep or take the lock after that time, if it was held meanwhile', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 4_000 });
    memory.store.breakWatches();
    await keep(memory, locker);
    const lock = await locker.lock('a', options);
    const next = locker.lock('a', options);
    await memory.clock.advance(2_000);
    memory.store.next(calls.handOver, respondsAfter(memory.clock, 1_000));

    const released = follow(lock.release());
    await memory.clock.advance(500);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(500);

    expect(released.isSettled).toBe(true);
    expect((await next).fencingToken).toBeGreaterThan(lock.fencingToken);
  });

  test('gives the lock back after a break of that length, and not after a shorter one', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 4_000 });
    await keep(memory, locker);
    memory.store.breakWatches();
    await memory.clock.advance(1_999);
    memory.store.restoreWatches();
    await memory.clock.advance(10_000);
    expect(memory.entries('a')).toHaveLength(1);

    memory.store.breakWatches();
    await memory.clock.advance(2_000);

    expect(memory.entries('a')).toEqual([]);
  });

  test('is not confirmed before the look behind has an answer', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 4_000 });
    const lock = await locker.lock('a', options);
    await locker.lock('b');
    memory.store.every(calls.read, hangs);
    await lock.release();

    await memory.clock.advance(2_000);

    expect(memory.entries('a')).toEqual([]);
  });

  test('finds a waiter that came between the confirmation of the watch and the look', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', options);
    await other.lock('b');
    memory.store.next(calls.read, after(memory.clock, 1_000));
    await lock.release();
    await memory.clock.settle();
    const waiting = follow(other.lock('a'));

    await memory.clock.advance(1_000);

    expect(waiting.value?.held).toBe(true);
  });

  test('stops with the entry, and there is one for each kept name', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('b');
    const before = memory.etcd.watchCount;
    for (let round = 0; round < 3; round += 1) await keep(memory, locker);
    expect(memory.etcd.watchCount).toBe(before + 1);

    await memory.clock.advance(60_000);

    expect(memory.etcd.watchCount).toBe(before);
  });
});

describe('a kept lock that is gone', () => {
  test.each(['kept', 'held'])('by a break while it is %s, is made anew for the next caller', async (state) => {
    await using memory = await openFaultyMemory();
    const [locker, operator] = [memory.createLocker(), memory.createLocker()];
    const old = await keep(memory, locker);
    const lock = state === 'held' ? await locker.lock('a', options) : undefined;

    expect(await operator.breakLock('a')).toMatchObject([{ key: old.key, fencingToken: old.fencingToken }]);
    await memory.clock.settle();

    if (lock !== undefined) {
      expect(lock.held).toBe(false);
      expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    }
    const next = await locker.lock('a', options);
    expect(next.fencingToken).toBeGreaterThan(old.fencingToken);
    expect(old.signal.aborted).toBe(false);
  });

  test('by a break of its own locker', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);

    await locker.breakLock('a');
    await memory.clock.settle();

    expect((await locker.lock('a')).fencingToken).toBeGreaterThan(old.fencingToken);
  });

  test('with its lease, tells nobody', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    memory.store.every(calls.any, unreachable(memory.clock));
    await memory.clock.advance(20_000);

    memory.store.clearFaults();
    await memory.clock.advance(20_000);

    expect(old.signal.aborted).toBe(false);
    expect((await locker.lock('a')).held).toBe(true);
  });
});

describe('a value that is written for the next caller', () => {
  test.each(['lock', 'tryLock'] as const)('leaves the lock kept when %s() is aborted meanwhile', async (method) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    memory.store.next(calls.value, respondsAfter(memory.clock, 1_000));
    const controller = new AbortController();
    const aborted = errorOf(locker[method]('a', { ...options, value: 'mine', signal: controller.signal }));
    const next = follow(locker.lock('a', options));
    await memory.clock.advance(500);

    controller.abort();
    expect(await aborted).toBe(controller.signal.reason);
    await memory.clock.advance(500);

    expect(next.value).toMatchObject({ held: true, fencingToken: old.fencingToken });
    expect(memory.entries('a')).toMatchObject([{ value: next.value?.value }]);
  });

  test('rejects that caller alone when etcd refuses it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    const refusal = new EtcdRefusedError('request is too large');
    memory.store.next(calls.value, refused(refusal));

    const [first, second] = [errorOf(locker.lock('a', { ...options, value: 'mine' })), follow(locker.lock('a', options))];

    expect(await first).toBe(refusal);
    await memory.clock.settle();
    expect(second.value).toMatchObject({ held: true, fencingToken: old.fencingToken });
    await second.value?.release();
    memory.store.next(calls.value, refused(refusal));
    expect(await errorOf(locker.tryLock('a', { ...options, value: 'mine' }))).toBe(refusal);
    expect((await locker.tryLock('a', options))?.fencingToken).toBe(old.fencingToken);
  });

  test.each(['lock', 'tryLock'] as const)(
    'rejects %s() with EtcdUnavailableError after requestTimeoutMs without a response',
    async (method) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker({ requestTimeoutMs: 2_000 });
      await keep(memory, locker);
      memory.store.every(calls.value, unreachable(memory.clock));

      const failed = follow(locker[method]('a', { ...options, value: 'mine' }));
      await memory.clock.advance(2_000);

      expect(failed.error).toBeInstanceOf(EtcdUnavailableError);
    },
  );

  test('makes a new entry when the old one is gone', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await keep(memory, locker);
    memory.store.breakWatches();
    memory.etcd.commit({ compare: [], then: [{ delete: { key: old.key } }], otherwise: [] });

    const lock = await locker.lock('a', { ...options, value: 'mine' });

    expect(lock.fencingToken).toBeGreaterThan(old.fencingToken);
    expect(memory.entries('a')).toMatchObject([{ value: 'mine' }]);
    const again = await keep(memory, locker, 'b');
    memory.etcd.commit({ compare: [], then: [{ delete: { key: again.key } }], otherwise: [] });
    const tried = await locker.tryLock('b', { ...options, value: 'mine' });
    expect(tried?.fencingToken).toBeGreaterThan(again.fencingToken);
  });

  test('is lost with the session: the caller gets a new entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 2_000 });
    const old = await keep(memory, locker);
    memory.store.next(calls.value, respondsAfter(memory.clock, 3_000));
    const stop = memory.store.every(calls.renew, unreachable(memory.clock));

    const taken = follow(locker.lock('a', { ...options, value: 'mine', ttlMs: 2_000 }));
    await memory.clock.advance(1_600);
    stop();
    await memory.clock.advance(3_000);

    expect(taken.value?.held).toBe(true);
    expect(taken.value?.fencingToken).toBeGreaterThan(old.fencingToken);
  });
});

describe('a recall while the value of the next caller is written', () => {
  test('gives the lock back if that caller gave up', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    memory.store.next(calls.value, respondsAfter(memory.clock, 1_000));
    const taken = errorOf(locker.lock('a', { ...options, value: 'mine', timeoutMs: 500 }));
    const waiting = follow(other.lock('a'));

    await memory.clock.advance(1_000);

    expect(await taken).toBeInstanceOf(Error);
    expect(waiting.value?.held).toBe(true);
  });

  test('gives the lock to the waiter first, and then to that caller', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    memory.store.next(calls.value, respondsAfter(memory.clock, 1_000));
    const taken = follow(locker.lock('a', { ...options, value: 'mine' }));
    const waiting = follow(other.lock('a'));
    await memory.clock.advance(1_000);
    expect([waiting.value?.held, taken.isSettled]).toEqual([true, false]);

    await waiting.value?.release();
    await memory.clock.settle();

    expect(taken.value?.held).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ value: 'mine' }]);
  });
});

describe('several names', () => {
  test('that are all kept are taken without a request by tryLockAll() and lockAll()', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    for (const name of ['a', 'b', 'c']) await keep(memory, locker, name);
    const before = memory.store.calls.length;

    for (let round = 0; round < 2; round += 1) {
      const locks = round === 0 ? await locker.tryLockAll(['c', 'a', 'b'], options) : await locker.lockAll(['c', 'a', 'b'], options);
      expect(locks?.locks.map(({ name, held }) => `${name} ${String(held)}`)).toEqual(['c true', 'a true', 'b true']);
      await locks?.release();
    }

    expect(memory.store.calls.length).toBe(before);
  });

  test('that are partly kept take one request for the rest, all or nothing', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const kept = await keep(memory, locker, 'a');
    const before = memory.store.calls.length;
    const locks = await locker.tryLockAll(['b', 'a', 'c'], options);
    expect(memory.store.calls.length).toBe(before + 1);
    expect(locks?.locks.map(({ name }) => name)).toEqual(['b', 'a', 'c']);
    expect(locks?.locks[1]?.fencingToken).toBe(kept.fencingToken);
    await locks?.release();
    await memory.clock.settle();

    await other.lock('d');
    expect(await locker.tryLockAll(['a', 'd', 'c'], options)).toBeNull();
    await memory.clock.settle();

    for (const name of ['a', 'b', 'c']) {
      const again = await locker.tryLock(name, options);
      expect(again?.held).toBe(true);
    }
  });

  test('give what is kept to a caller that waits when the try fails', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const kept = await keep(memory, locker, 'a');
    await other.lock('d');
    const tried = locker.tryLockAll(['a', 'd'], options);
    const waiting = follow(locker.lock('a', options));

    expect(await tried).toBeNull();
    await memory.clock.settle();

    expect(waiting.value).toMatchObject({ held: true, fencingToken: kept.fencingToken });
  });

  test('are taken anew when a kept one is lost during the try', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [kept] = [await keep(memory, locker, 'a'), await keep(memory, locker, 'c')];
    memory.store.next(calls.creation, respondsAfter(memory.clock, 1_000));
    const tried = follow(locker.tryLockAll(['a', 'b', 'c'], options));
    await memory.clock.advance(500);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: kept.key } }], otherwise: [] });
    await memory.clock.advance(500);

    expect(tried.value?.held).toBe(true);
    expect(tried.value?.locks[0]?.fencingToken).toBeGreaterThan(kept.fencingToken);
    expect(memory.entries('b')).toHaveLength(1);
  });
});

describe('close()', () => {
  test('ends what is kept with the lease, in no request more', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);

    await locker.close();

    expect(memory.entries('a')).toEqual([]);
    expect(memory.store.count(calls.deletion)).toBe(0);
  });

  test('with drainMs gives back at once what is kept, keeps nothing more, and does not wait for it', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    const held = await locker.lock('b', options);
    const closed = follow(locker.close({ drainMs: 30_000 }));
    await memory.clock.settle();
    expect(memory.entries('a')).toEqual([]);
    expect((await other.tryLock('a'))?.held).toBe(true);
    expect(closed.isSettled).toBe(false);

    await held.release();
    expect(memory.entries('b')).toEqual([]);
    await memory.clock.settle();

    expect(closed.isSettled).toBe(true);
    const idle = memory.createLocker();
    await keep(memory, idle, 'c');
    const drained = follow(idle.close({ drainMs: 30_000 }));
    await memory.clock.settle();
    expect(drained.isSettled).toBe(true);
  });

  test.each(['lock', 'tryLock'] as const)('rejects %s() whose value is being written', async (method) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    memory.store.next(calls.value, respondsAfter(memory.clock, 1_000));
    const taken = errorOf(locker[method]('a', { ...options, value: 'mine' }));
    await memory.clock.settle();

    const closed = follow(locker.close());
    expect(await taken).toBeInstanceOf(LockerClosedError);
    await memory.clock.advance(1_000);

    expect(closed.isSettled).toBe(true);
    expect(memory.entries('a')).toEqual([]);
  });

  test('while a kept lock is being given back ends it with the lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker, 'a', 10_000);
    memory.store.every(calls.deletion, hangs);
    await memory.clock.advance(10_000);

    await locker.close();

    expect(memory.entries('a')).toEqual([]);
    expect(memory.clock.isHeld).toBe(false);
  });
});

describe('a lock with keepMs that does not end by release()', () => {
  test('is not kept after maxHoldMs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await keep(memory, locker);
    const lock = await locker.lock('a', { ...options, maxHoldMs: 1_000 });

    await memory.clock.advance(1_000);

    expect(lock.held).toBe(false);
    expect(memory.entries('a')).toEqual([]);
    await lock.release();
    expect(memory.entries('a')).toEqual([]);
  });

  test('is not kept when a deletion without a response is repeated', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await keep(memory, locker);
    memory.store.next(calls.deletion, lostResponse);
    const waiting = follow(other.lock('a'));
    await memory.clock.advance(1_000);
    expect(waiting.value?.held).toBe(true);
    await waiting.value?.release();

    const lock = await locker.lock('a', options);

    expect(lock.held).toBe(true);
    expect(memory.entries('a')).toHaveLength(1);
  });
});
