/** Tests of the faults that `memoryStore()` causes for tests of users. */
import { createLocker, type LockerOptions } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test, vi } from 'vitest';
import { follow } from '../support/fixtures/holding.ts';

function open(options?: LockerOptions) {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const locker = createLocker({ store, ...options });
  return { clock, store, locker, [Symbol.asyncDispose]: () => locker.close() };
}

describe('goDown()', () => {
  test('rejects a new lock() with ETCD_UNAVAILABLE after requestTimeoutMs', async () => {
    await using stage = open({ requestTimeoutMs: 1_000 });
    const { clock, store, locker } = stage;
    store.goDown();

    const waiting = follow(locker.lock('a'));
    await clock.advance(999);
    expect(waiting.isSettled).toBe(false);
    await clock.advance(1);

    expect(waiting.error).toMatchObject({
      code: 'ETCD_UNAVAILABLE',
      message: expect.stringContaining('memory (the memory store is down)') as string,
    });
    store.goUp();
  });

  test('rejects tryLock(), inspect() and withLock() with ETCD_UNAVAILABLE at the limits of real etcd', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    store.goDown();

    const results = [locker.tryLock('a'), locker.inspect('a'), locker.withLock('a', () => 1), locker.lock('a', { timeoutMs: 700 })].map(
      (call) => follow<unknown>(call),
    );
    await clock.advance(700);
    expect(results.map(({ isSettled }) => isSettled)).toEqual([false, false, false, true]);
    await clock.advance(4_300);

    expect(results.map(({ error }) => (error as { code?: string }).code)).toEqual(Array(4).fill('ETCD_UNAVAILABLE'));
    store.goUp();
  });

  test('loses a held lock at its deadline, before etcd gives the name to another', async () => {
    await using stage = open({ ttlMs: 15_000 });
    const { clock, store, locker } = stage;
    const lock = await locker.lock('a');
    store.goDown();

    await clock.advance(10_000);
    expect(lock.held).toBe(true);
    await clock.advance(4_999);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({
      code: 'LOCK_LOST',
      reason: 'expired',
      cause: { code: 'ETCD_UNAVAILABLE', hosts: [{ host: 'memory', reason: 'the memory store is down' }] },
    });
    await clock.advance(1);
    store.goUp();
    await using next = createLocker({ store });
    expect(await next.tryLock('a')).not.toBeNull();
  });

  test('keeps a held lock through a short outage', async () => {
    await using stage = open({ ttlMs: 15_000 });
    const { clock, store, locker } = stage;
    const lock = await locker.lock('a');

    store.goDown();
    await clock.advance(9_000);
    store.goUp();
    await clock.advance(60_000);

    expect(lock.held).toBe(true);
  });

  test('hides the release of another process from a waiter until goUp()', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    await using other = createLocker({ store });
    const lock = await other.lock('a');
    const waiting = follow(locker.lock('a'));
    await clock.advance(100);

    store.goDown();
    const released = follow(lock.release());
    await clock.advance(3_000);
    expect([waiting.isSettled, released.isSettled]).toEqual([false, false]);
    store.goUp();
    await clock.advance(100);

    expect([waiting.value?.held, released.isSettled]).toEqual([true, true]);
  });

  test('is reported by silence(), which ends with the next response', async () => {
    await using stage = open();
    const { clock, store } = stage;
    store.goDown();
    expect(store.silence?.()).toBeUndefined();

    const read = follow(store.commit({ compare: [], then: [], otherwise: [] }));
    await clock.advance(2_500);
    expect(store.silence?.()).toEqual({ forMs: 2_500, isOutage: true, hosts: [{ host: 'memory', reason: 'the memory store is down' }] });
    store.goUp();
    await clock.settle();

    expect(read.value).toMatchObject({ succeeded: true });
    expect(store.silence?.()).toBeUndefined();
  });

  test('fails a write that is sent once with OutcomeUnknownError, and never applies it later', async () => {
    await using stage = open();
    const { clock, store } = stage;
    const key = 'key';
    const write = { compare: [], then: [{ put: { key, value: '', leaseId: '0' } }], otherwise: [] };
    store.goDown();

    const once = follow(store.commit(write, { once: true, timeoutMs: 1_000 }));
    const often = follow(store.commit(write, { timeoutMs: 1_000 }));
    await clock.advance(1_000);
    store.goUp();

    expect(once.error).toMatchObject({ name: 'OutcomeUnknownError', hosts: [{ host: 'memory' }] });
    expect(often.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    const { ranges } = await store.commit({ compare: [], then: [{ range: { key } }], otherwise: [] });
    expect(ranges).toEqual([[]]);
  });

  test('breaks watches, which are created again by goUp() and miss what happened between', async () => {
    await using stage = open();
    const { clock, store } = stage;
    const seen: string[] = [];
    const listener = {
      created: (revision: bigint) => void seen.push(`created ${String(revision)}`),
      events: (events: readonly { kv: { value: string } }[]) => void seen.push(...events.map(({ kv }) => kv.value)),
    };
    const stop = store.watch({ key: 'key' }, listener);
    await clock.settle();
    store.goDown();
    const stopLate = store.watch({ key: 'other' }, listener);
    const write = store.commit({ compare: [], then: [{ put: { key: 'key', value: 'waits', leaseId: '0' } }], otherwise: [] });
    await clock.settle();
    expect(seen).toEqual(['created 1']);

    store.goUp();
    await write;
    await store.commit({ compare: [], then: [{ put: { key: 'key', value: 'later', leaseId: '0' } }], otherwise: [] });
    await clock.settle();

    expect(seen.filter((one) => one.startsWith('created'))).toHaveLength(3);
    expect(seen.at(-1)).toBe('later');
    stop();
    stopLate();
  });

  test('makes a watched state stale after requestTimeoutMs, until goUp()', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    await locker.lock('a');
    const states = locker.watch('a');
    expect((await states.next()).value).toMatchObject({ held: true, current: true });
    await clock.settle();

    const stale = follow(states.next());
    store.goDown();
    await clock.advance(4_999);
    expect(stale.isSettled).toBe(false);
    await clock.advance(1);
    expect(stale.value).toMatchObject({ value: { held: true, current: false } });
    const fresh = follow(states.next());
    store.goUp();
    await clock.settle();

    expect(fresh.value).toMatchObject({ value: { held: true, current: true } });
    await states.return();
  });

  test('twice, and goUp() twice, is the same as once', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    store.goUp();
    store.goDown();
    store.goDown();
    store.goUp();
    store.goUp();
    const created: bigint[] = [];
    store.watch({ key: 'a' }, { created: (revision) => void created.push(revision), events: () => undefined });
    await clock.settle();

    expect((await locker.lock('a')).held).toBe(true);
    expect(created).toHaveLength(1);
  });
});

describe('drop()', () => {
  test('loses the lock at once, and lets the next one in', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    await using other = createLocker({ store });
    const lock = await locker.lock('orders/42 ä');
    const kept = await locker.lock('b');
    const next = follow(other.lock('orders/42 ä'));
    await clock.settle();

    store.drop('orders/42 ä');
    await clock.settle();

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    expect(next.value?.held).toBe(true);
    expect(kept.held).toBe(true);
  });

  test('works right after lock() has resolved', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    const lock = await locker.lock('a');

    store.drop('a');
    await clock.settle();

    expect(lock.signal.reason).toMatchObject({ reason: 'deleted' });
  });

  test('drops all holders of a semaphore, and no waiter', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    const other = createLocker({ store });
    const held = [await locker.lock('a', { slots: 2 }), await other.lock('a', { slots: 2 })];
    const waiting = follow(locker.lock('a', { slots: 2 }));
    await clock.settle();

    store.drop('a');
    await clock.advance(10);

    expect(held.map((lock) => lock.held)).toEqual([false, false]);
    expect(waiting.value?.held).toBe(true);
    await other.close();
  });

  test.each(['', 'a/b/', 'locks/'])('finds the holder under the prefix %j', async (prefix) => {
    await using stage = open({ prefix });
    const lock = await stage.locker.lock('c/d');

    stage.store.drop('c/d');
    await stage.clock.settle();

    expect(lock.held).toBe(false);
  });

  test('finds the holder under a prefix without a slash if the store knows it', async () => {
    const clock = new ManualClock();
    const store = memoryStore({ clock, prefix: 'app:' });
    await using locker = createLocker({ store, prefix: 'app:' });
    const lock = await locker.lock('a');

    store.drop('a');
    await clock.settle();

    expect(lock.held).toBe(false);
  });

  test('and expire() throw if nobody holds the name, and say which names are in use', async () => {
    await using stage = open();
    const { store, locker } = stage;
    expect(() => {
      store.drop('a');
    }).toThrow(/^Cannot drop "a": nobody holds it$/);
    await locker.lock('orders/42');

    expect(() => {
      store.expire('order/42');
    }).toThrow('Cannot expire "order/42": nobody holds it (names in use: "orders/42")');
  });
});

describe('expire()', () => {
  test('ends the lease: all locks of the locker are lost at once with the reason expired, and it goes on with a new lease', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    const locks = [await locker.lock('a'), await locker.lock('b')];

    store.expire('a');
    await clock.settle();

    expect(locks.map(({ signal }) => signal.reason as unknown)).toMatchObject([
      { code: 'LOCK_LOST', reason: 'expired' },
      { code: 'LOCK_LOST', reason: 'expired' },
    ]);
    expect((await locker.lock('a')).held).toBe(true);
  });

  test('during an outage is noticed when the connection is up again', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    const lock = await locker.lock('a');
    store.goDown();

    store.expire('a');
    await clock.advance(1_000);
    expect(lock.held).toBe(true);
    store.goUp();
    await clock.advance(100);

    expect(lock.held).toBe(false);
  });
});

describe('delayMs', () => {
  test('delays each response and each event', async () => {
    await using stage = open();
    const { clock, store, locker } = stage;
    await using other = createLocker({ store });
    store.delayMs = 200;
    const first = follow(locker.lock('a'));

    await clock.advance(599);
    expect(first.isSettled).toBe(false); // a grant, a gate, and the entry: three requests
    await clock.advance(1);
    expect(first.value?.held).toBe(true);
    const next = follow(other.lock('a'));
    await clock.advance(2_000);
    const released = follow(first.value?.release() ?? Promise.reject(new Error('not held')));
    await clock.advance(199);
    expect([released.isSettled, next.isSettled]).toEqual([false, false]);
    await clock.advance(400);

    expect([released.isSettled, next.value?.held]).toEqual([true, true]);
    store.delayMs = 0;
  });

  test('loses a response that takes longer than the limit of its request, but not its effect', async () => {
    await using stage = open();
    const { clock, store } = stage;
    store.delayMs = 2_000;

    const write = follow(
      store.commit(
        { compare: [], then: [{ put: { key: 'key', value: '', leaseId: '0' } }], otherwise: [] },
        { once: true, timeoutMs: 1_000 },
      ),
    );
    await clock.advance(1_000);
    expect(write.error).toMatchObject({ name: 'OutcomeUnknownError' });
    store.delayMs = 0;

    const { ranges } = await store.commit({ compare: [], then: [{ range: { key: 'key' } }], otherwise: [] });
    expect(ranges[0]).toHaveLength(1);
  });

  test('keeps the order of events when it becomes smaller', async () => {
    await using stage = open();
    const { clock, store } = stage;
    const seen: string[] = [];
    const put = (value: string) => store.commit({ compare: [], then: [{ put: { key: 'key', value, leaseId: '0' } }], otherwise: [] });
    const stop = store.watch(
      { key: 'key' },
      { created: () => undefined, events: (events) => void seen.push(...events.map(({ kv }) => kv.value)) },
    );
    await clock.settle();

    store.delayMs = 1_000;
    const slow = put('1');
    await clock.settle();
    store.delayMs = 10;
    const fast = put('2');
    await clock.advance(1_000);
    await Promise.all([slow, fast]);

    expect(seen).toEqual(['1', '2']);
    stop();
  });

  test('refuses a negative time', () => {
    expect(() => {
      memoryStore().delayMs = -1;
    }).toThrow(RangeError);
  });
});

describe('under fake timers', () => {
  test('memoryStore() on the default clock renews and loses locks as vi.advanceTimersByTimeAsync() moves the time', async () => {
    vi.useFakeTimers();
    try {
      const store = memoryStore();
      await using locker = createLocker({ store, ttlMs: 15_000 });
      await using other = createLocker({ store });
      const lock = await locker.lock('a');
      await vi.advanceTimersByTimeAsync(20_000);
      expect([lock.held, await other.tryLock('a')]).toEqual([true, null]);

      store.goDown();
      await vi.advanceTimersByTimeAsync(20_000);
      store.goUp();

      expect(lock.held).toBe(false);
      expect((await other.tryLock('a'))?.held).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  test('ManualClock works with every timer faked, setImmediate and queueMicrotask too', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date', 'performance'] });
    try {
      await using stage = open();
      const { clock, store, locker } = stage;
      const lock = await locker.lock('a');
      await clock.advance(60_000);
      expect(lock.held).toBe(true);
      store.drop('a');
      await clock.advance(1_000);

      expect(lock.held).toBe(false);
    } finally {
      vi.useRealTimers();
    }
  });
});
