/** Tests of what a call reports at the end of its time: that the name is busy, or that etcd does not respond. */
import {
  type CallOptions,
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  type Lock,
  type LockOptions,
  type Locker,
  LockTimeoutError,
} from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import {
  after,
  type Call,
  calls,
  type FaultyMemory,
  hangs,
  openFaultyMemory,
  refused,
  respondsAfter,
  unreachable,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const uses: Record<string, (locker: Locker, options: CallOptions) => Promise<unknown>> = {
  'lock()': (locker, options) => locker.lock('a', options),
  'withLock()': (locker, options) => locker.withLock('a', options, () => 'done'),
  'lock() of a shared lock': (locker, options) => locker.lock('a', { mode: 'shared', ...options }),
  'lock() of a semaphore': (locker, options) => locker.lock('a', { slots: 2, ...options }),
  'lock() with a lease of its own': (locker, options) => locker.lock('a', { renew: false, ...options }),
  'tryLock()': (locker, options) => locker.tryLock('a', options),
  'lockAll()': (locker, options) => locker.lockAll(['a', 'b'], options),
  'tryLockAll()': (locker, options) => locker.tryLockAll(['a', 'b'], options),
};

/** A locker that has used etcd before, and one that has not. */
const lockers: Record<string, (memory: FaultyMemory) => Promise<Locker>> = {
  fresh: async (memory) => Promise.resolve(memory.createLocker()),
  used: async (memory) => {
    const locker = memory.createLocker({ ttlMs: 60_000 });
    await locker.withLock('other', () => undefined);
    return locker;
  },
};
const cases = Object.keys(uses).flatMap((use) => Object.keys(lockers).map((kind) => [use, kind] as const));

const asksForValue = (call: Call): boolean =>
  call.method === 'commit' && call.transaction.then.some((one) => 'range' in one && one.range.order === 'oldest');

describe('when etcd has not responded since the call began', () => {
  test.each(cases)('%s with timeoutMs rejects with EtcdUnavailableError at its time, on a %s locker', async (use, kind) => {
    await using memory = await openFaultyMemory();
    const locker = await lockers[kind]?.(memory);
    memory.store.every(calls.any, hangs);
    if (locker === undefined) throw new Error('There is no such locker');

    const call = follow(uses[use]?.(locker, { timeoutMs: 300 }) ?? Promise.resolve());
    await memory.clock.advance(299);
    expect(call.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(call.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(String(call.error)).toContain('within 300 ms');
  });

  test.each(['tryLock()', 'tryLockAll()'])('%s without timeoutMs rejects after requestTimeoutMs', async (use) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 1_000 });
    memory.store.every(calls.any, hangs);

    const call = follow(uses[use]?.(locker, {}) ?? Promise.resolve());
    await memory.clock.advance(1_000);

    expect(call.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  });

  test('a caller that inherits a place which somebody has deleted rejects with EtcdUnavailableError', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const before = new AbortController();
    const second = follow(memory.createLocker().lock('a', { signal: before.signal }));
    await memory.clock.advance(100);
    const locker = memory.createLocker();
    const third = follow(locker.lock('a', { timeoutMs: 1_000 }));
    await memory.clock.advance(100);
    // It looks when the second leaves. Meanwhile somebody deletes the whole queue.
    memory.store.next(calls.read, async () => {
      await new Promise<void>((resolve) => void memory.clock.setTimer(1_000, resolve));
      throw new EtcdUnavailableError(5_000, []);
    });
    before.abort();
    await memory.clock.advance(100);
    expect(second.error).toBeDefined();
    memory.store.every(calls.any, hangs);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/', rangeEnd: 'locks/a0' } }], otherwise: [] });
    await memory.clock.advance(800);
    expect(third.error).toBeInstanceOf(LockTimeoutError);

    const heir = follow(locker.lock('a', { timeoutMs: 300 }));
    await memory.clock.advance(300);

    expect(heir.error).toBeInstanceOf(EtcdUnavailableError);
  });

  test('all callers of a name in one process reject with EtcdUnavailableError, whatever their place', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.every(calls.any, hangs);

    const waiting = [1_000, 500, 2_000, 500].map((timeoutMs) => follow(locker.lock('a', { timeoutMs })));
    const trying = [follow(locker.tryLock('a', { timeoutMs: 700 })), follow(locker.tryLock('a')), follow(locker.tryLockAll(['a', 'b']))];
    await memory.clock.advance(2_000);
    expect(waiting.map(({ error }) => error)).toMatchObject(Array(4).fill({ code: 'ETCD_UNAVAILABLE' }));
    await memory.clock.advance(3_000);

    expect(trying.map(({ error }) => error)).toMatchObject(Array(3).fill({ code: 'ETCD_UNAVAILABLE' }));
  });

  test('lock() with a timeoutMs above requestTimeoutMs rejects after requestTimeoutMs, also after an earlier timeout', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 5_000 });
    memory.store.every(calls.any, hangs);

    const first = follow(locker.lock('a', { timeoutMs: 2_000 }));
    await memory.clock.advance(2_000);
    expect(first.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    const second = follow(locker.lock('a', { timeoutMs: 6_000 }));
    await memory.clock.advance(5_000);

    expect(second.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(String(second.error)).toContain('within 5000 ms');
  });

  test('a call with little time does not end the request that another call waits for', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 1_000));

    const [short, long] = [follow(locker.lock('a', { timeoutMs: 100 })), follow(locker.lock('b'))];
    await memory.clock.advance(100);
    expect(short.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    await memory.clock.advance(900);

    expect(long.value?.held).toBe(true);
    expect(memory.store.count(calls.grant)).toBe(1);
  });

  test('a call with a lease of its own leaves none when etcd grants it after the call has ended', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 1_000 });
    memory.store.next(calls.grant, after(memory.clock, 900));
    memory.store.next(calls.gatePut, after(memory.clock, 900));

    const call = follow(locker.tryLock('a', { renew: false }));
    await memory.clock.advance(1_000);
    expect(call.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    await memory.clock.advance(1_000);

    expect(memory.etcd.leaseIds).toEqual([]);
  });

  test('one warning is logged per requestTimeoutMs, also when every call ends by its timeoutMs', async () => {
    await using memory = await openFaultyMemory();
    const warnings: unknown[] = [];
    const locker = memory.createLocker({ logger: { ...console, warn: (line: unknown) => warnings.push(line) } });
    memory.store.every(calls.any, hangs);

    for (let count = 0; count < 20; count += 1) {
      const call = errorOf(locker.lock(`n${String(count)}`, { timeoutMs: 100 }));
      await memory.clock.advance(100);
      await call;
    }

    expect(warnings).toHaveLength(1);
    expect(String(warnings[0])).toContain('"n0"');
  });
});

describe('when it is known that the name is busy', () => {
  test('lock() behind a holder of its own process times out, and tryLock() returns null, while etcd hangs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 60_000 });
    await locker.lock('a');
    memory.store.every(calls.any, hangs);

    const calling = [
      follow<Lock | null>(locker.lock('a', { timeoutMs: 300 })),
      follow<Lock | null>(locker.lock('a', { mode: 'shared', timeoutMs: 300 })),
      follow<Lock | null>(locker.tryLock('a', { timeoutMs: 300 })),
      follow<Lock | null>(locker.tryLock('a')),
    ];
    await memory.clock.advance(300);

    expect(calling.map(({ error, value }) => error ?? value)).toMatchObject([
      { code: 'LOCK_TIMEOUT', timeoutMs: 300 },
      { code: 'LOCK_TIMEOUT', timeoutMs: 300 },
      null,
      null,
    ]);
  });

  test('lock() whose turn is under way when its time is up times out, also behind another caller of its process', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 60_000 });
    const holder = await locker.lock('a');
    const waiting = [follow(locker.lock('a', { timeoutMs: 300 })), follow(locker.lock('a', { timeoutMs: 300 }))];
    await memory.clock.advance(299);
    memory.store.every(calls.any, hangs);
    void holder.release();

    await memory.clock.advance(1);

    expect(waiting.map(({ error }) => error)).toMatchObject([{ code: 'LOCK_TIMEOUT' }, { code: 'LOCK_TIMEOUT' }]);
  });

  test('lock() has the failure of etcd as its cause when etcd responded once and is silent since', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker({ ttlMs: 600_000 }).lock('a', { value: 'holder' });
    const waiter = memory.createLocker({ ttlMs: 60_000 });
    const waiting = follow(waiter.lock('a', { timeoutMs: 40_000 }));
    await memory.clock.settle();
    memory.store.every(calls.read, unreachable(memory.clock));
    const before = memory.store.calls.length;

    await memory.clock.advance(40_000);

    expect(waiting.error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: undefined, cause: { code: 'ETCD_UNAVAILABLE' } });
    expect(String(waiting.error)).toContain('etcd does not respond');
    // The slow looks alone: the value of the holder is not asked for in an outage.
    const values = memory.store.calls.slice(before).filter(asksForValue);
    expect(values).toEqual([]);
  });

  test('lockAll() times out when a name was busy and its time is up before the next is asked for', async () => {
    await using memory = await openFaultyMemory();
    const [holders, locker] = [memory.createLocker(), memory.createLocker()];
    const holder = await holders.lock('a');
    await holders.lock('b', { value: 'theirs' });
    const [waiting, trying] = [
      follow(locker.lockAll(['a', 'b'], { timeoutMs: 1_000 })),
      follow(memory.createLocker().tryLockAll(['a', 'b'], { timeoutMs: 1_000 })),
    ];
    await memory.clock.advance(990);
    await holder.release();
    memory.store.every(calls.creation, hangs);

    await memory.clock.advance(10);

    expect(waiting.error).toMatchObject({ code: 'LOCK_TIMEOUT', timeoutMs: 1_000 });
    expect(trying).toMatchObject({ isSettled: true, value: null, error: undefined });
  });
});

describe('the value of the holder', () => {
  test('is read once for all callers of a name whose time is up together', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const waiting = Array.from({ length: 1_000 }, () => follow(locker.lock('a', { timeoutMs: 2_000 })));
    await memory.clock.advance(1_000);
    const before = memory.store.calls.length;

    await memory.clock.advance(1_000);

    expect(waiting.map(({ error }) => error)).toMatchObject(Array(1_000).fill({ code: 'LOCK_TIMEOUT', holder: 'holder' }));
    // The read, and the deletion of the one entry.
    expect(memory.store.calls.length - before).toBeLessThanOrEqual(3);
  });

  test('is that of now for each call that does not wait', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker(), memory.createLocker()];
    for (const value of ['first', 'second']) {
      const lock = await one.lock('a', { value });
      expect(await errorOf(other.lock('a', { timeoutMs: 0 }))).toMatchObject({ code: 'LOCK_TIMEOUT', holder: value });
      await lock.release();
      await memory.clock.advance(20);
    }
  });

  test('is not read for null', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const locker = memory.createLocker();
    const trying = [follow(locker.tryLock('a', { timeoutMs: 300 })), follow(locker.tryLockAll(['a', 'b'], { timeoutMs: 300 }))];
    await memory.clock.settle();
    const before = memory.store.count(calls.read);

    await memory.clock.advance(300);

    expect(trying).toMatchObject([{ value: null }, { value: null }]);
    expect(memory.store.count(calls.read)).toBe(before);
  });

  test('does not delay the error when it does not arrive', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    const locker = memory.createLocker();
    const waiting = follow(locker.lock('a', { timeoutMs: 1_000 }));
    const atOnce = follow(memory.createLocker().lock('a', { timeoutMs: 0 }));
    await memory.clock.settle();
    memory.store.every(calls.read, hangs);
    const late = follow(memory.createLocker().lock('a', { timeoutMs: 0 }));

    await memory.clock.advance(100);
    expect([atOnce.error, late.error]).toMatchObject([{ code: 'LOCK_TIMEOUT' }, { code: 'LOCK_TIMEOUT', holder: undefined }]);
    await memory.clock.advance(900);

    expect(waiting.error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: undefined });
  });

  test.each([
    [{ slots: 3 }, { slots: 4 }, 'held with 3 slots, asked for 4'],
    [{}, { slots: 4 }, 'held with 1 slot, asked for 4'],
    [{ slots: 2 }, {}, 'held with 2 slots, asked for 1'],
    [{ mode: 'shared' }, { slots: 4 }, "held with mode 'shared', asked for 4"],
    [{ slots: 2 }, { mode: 'shared' }, "held with 2 slots, asked for mode 'shared'"],
  ] as const)('comes with a mismatch of the slots: %o, %o', async (theirs, ours, text) => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a', theirs);
    const waiting = follow(memory.createLocker().lock('a', { ...ours, timeoutMs: 300 }));

    await memory.clock.advance(300);

    expect(String(waiting.error)).toContain(text);
  });

  test('comes with a mismatch of the slots of a waiter, and with none of readers and writers', async () => {
    await using memory = await openFaultyMemory();
    const lockAs = (options: LockOptions) => follow(memory.createLocker().lock('a', options));
    lockAs({ slots: 2 });
    await memory.clock.settle();
    const between = lockAs({ slots: 3, timeoutMs: 5_000 });
    await memory.clock.settle();
    const last = lockAs({ slots: 2, timeoutMs: 300 });
    await memory.createLocker().lock('b');
    const reader = follow(memory.createLocker().lock('b', { mode: 'shared', timeoutMs: 300 }));

    await memory.clock.advance(5_000);

    expect(String(last.error)).toContain('another caller waits with 3 slots, asked for 2');
    expect(String(between.error)).toContain('held with 2 slots, asked for 3');
    expect(String(reader.error)).not.toContain('asked for');
  });
});

describe('a final error', () => {
  const final = [new EtcdAuthError('locks/', 'wrong password'), new EtcdRefusedError('corrupt', { isFinal: true })];

  test.each(final)('rejects all callers that wait in the process: $name', async (error) => {
    await using memory = await openFaultyMemory();
    await memory.createLocker({ ttlMs: 600_000 }).lock('a');
    const locker = memory.createLocker();
    const waiting = [follow(locker.lock('a')), follow(locker.lock('a')), follow(locker.lock('a', { mode: 'shared' }))];
    await memory.clock.advance(1_000);
    memory.store.every(calls.read, refused(error));

    await memory.clock.advance(6_000);

    expect(waiting.map((one) => one.error)).toEqual([error, error, error]);
    expect(memory.entries('a')).toHaveLength(1);
  });

  test('is not a refusal that may end: a waiter keeps its entry', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker({ ttlMs: 600_000 }).lock('a');
    const waiting = follow(memory.createLocker().lock('a'));
    await memory.clock.advance(1_000);
    const stopFault = memory.store.every(calls.read, refused(new EtcdRefusedError('no space')));
    await memory.clock.advance(6_000);
    expect(waiting.isSettled).toBe(false);

    stopFault();
    await holder.release();
    await memory.clock.advance(6_000);

    expect(waiting.value?.held).toBe(true);
  });
});

describe('close()', () => {
  test('rejects the reads that are under way with LockerClosedError', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const held = await locker.lock('a');
    memory.store.every(calls.read, hangs);
    memory.store.every(calls.value, hangs);
    const reading = [
      follow<unknown>(locker.inspect('a')),
      follow<unknown>(locker.list().next()),
      follow<unknown>(locker.watch('a').next()),
    ];
    const writing = follow(held.setValue('new'));
    const releasing = follow((await locker.lock('b')).release());
    await memory.clock.settle();

    await locker.close();

    expect(reading).toMatchObject([{ error: { code: 'LOCKER_CLOSED' } }, { error: { code: 'LOCKER_CLOSED' } }, { value: { done: true } }]);
    expect(writing.error).toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
    expect(releasing).toMatchObject({ isSettled: true, error: undefined });
  });
});

describe('Web Locks', () => {
  test('a request with ifAvailable rejects, and does not get null, while etcd has not said that the lock is held', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 1_000 });
    memory.store.every(calls.any, hangs);
    const locks = webLocks(locker);
    const callBack = (lock: unknown): unknown => lock;

    const requests = [
      follow(locks.request('a', callBack)),
      follow(locks.request('a', { ifAvailable: true }, callBack)),
      follow(locks.request('a', { ifAvailable: true, mode: 'shared' }, callBack)),
    ];
    await memory.clock.advance(3_000);

    expect(requests.map(({ error }) => error)).toMatchObject(Array(3).fill({ code: 'ETCD_UNAVAILABLE' }));
  });

  test('a request with ifAvailable gets null when an earlier request of its client gets its entry', async () => {
    await using memory = await openFaultyMemory();
    const locks = webLocks(memory.createLocker());
    memory.store.next(calls.grant, respondsAfter(memory.clock, 100));

    const first = follow(locks.request('a', () => new Promise(() => undefined)));
    const second = follow(locks.request('a', { ifAvailable: true }, (lock) => lock));
    await memory.clock.advance(100);

    expect(second).toMatchObject({ isSettled: true, value: null, error: undefined });
    first.promise.catch(() => undefined);
  });

  test('query() that is under way at close() rejects with AbortError', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.every(calls.read, hangs);
    const querying = follow(webLocks(locker).query());
    await memory.clock.settle();

    await locker.close();

    expect(querying.error).toMatchObject({ name: 'AbortError', cause: { code: 'LOCKER_CLOSED' } });
  });
});

test('a request that failed at the end of its first caller’s time costs a later caller nothing', async () => {
  await using memory = await openFaultyMemory();
  const holder = await memory.createLocker().lock('a');
  const locker = memory.createLocker();
  await locker.withLock('other', () => undefined);
  memory.store.next(calls.creation, after(memory.clock, 600));
  const writer = follow(locker.lock('a'));
  const readers = [follow(locker.lock('a', { mode: 'shared' })), follow(locker.lock('a', { mode: 'shared' }))];
  await memory.clock.advance(500);
  memory.store.next(calls.creation, refused(new EtcdUnavailableError(5_000, [])));
  await memory.clock.advance(1_000);

  expect(readers.map(({ error }) => error)).toEqual([expect.objectContaining({ code: 'ETCD_UNAVAILABLE' }), undefined]);
  await holder.release();
  await memory.clock.settle();
  await writer.value?.release();
  await memory.clock.settle();
  expect(readers[1]?.value?.held).toBe(true);
});
