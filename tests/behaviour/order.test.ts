/** Tests of the order in which one process creates entries of a name and gets its locks, under faults. */
import { EtcdRefusedError, type Lock, type LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  calls,
  type Call,
  type FaultyMemory,
  hangs,
  lostRequest,
  lostResponse,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, type Followed, follow } from '../support/fixtures/holding.ts';

const shared: LockOptions = { mode: 'shared' };

const valuesOf = (memory: FaultyMemory): string[] => memory.entries('a').map(({ value }) => value);
const inOrder = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));
const puts = (call: Call, value: string): boolean =>
  call.method === 'commit' && call.transaction.then.some((one) => 'put' in one && one.put.value === value);

describe('creations of one name', () => {
  test.each([
    ['shared locks', shared],
    ['a semaphore', { slots: 64 }],
  ])('64 calls of one tick for %s are one commit', async (_, kind) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const before = memory.store.calls.length;
    const resolved: string[] = [];

    const locks = await Promise.all(
      inOrder(64).map(async (value) => {
        const lock = await locker.lock('a', { ...kind, value });
        resolved.push(value);
        return lock;
      }),
    );

    expect(memory.store.calls.length - before).toBe(1);
    expect(resolved).toEqual(inOrder(64));
    expect(locks.every(({ held }) => held)).toBe(true);
    expect(valuesOf(memory)).toEqual(inOrder(64));
  });

  test('a call waits for the creation of an earlier one of its kind', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, after(memory.clock, 1_000));
    const first = follow(locker.lock('a', { ...shared, value: '0' }));
    await memory.clock.advance(1);
    const others = [follow(locker.lock('a', { ...shared, value: '1' })), follow(locker.lock('a', { ...shared, value: '2' }))];
    await memory.clock.advance(900);
    expect(valuesOf(memory)).toEqual([]);

    await memory.clock.advance(200);

    expect(valuesOf(memory)).toEqual(inOrder(3));
    expect([first, ...others].every(({ value }) => value?.held === true)).toBe(true);
    // The two that waited share a commit.
    expect(memory.store.count(calls.creation)).toBe(3);
  });

  test.each([
    ['request', lostRequest],
    ['response', lostResponse],
  ])('calls keep their order when the %s of the first creation is lost', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, fault);
    const kinds = [shared, shared, {}, shared];

    const waiting = kinds.map((kind, index) => follow(locker.lock('a', { ...kind, value: String(index) })));
    await memory.clock.advance(5_000);

    expect(valuesOf(memory)).toEqual(inOrder(4));
    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, true, false, false]);
    await releaseInOrder(waiting);
  });

  test('only the call that etcd refuses rejects, and the others keep their order', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const refusal = new EtcdRefusedError('etcdserver: request is too large');
    memory.store.every((call) => puts(call, '5'), refused(refusal));

    const waiting = inOrder(9).map((value) => follow(locker.lock('a', { ...shared, value })));
    await memory.clock.advance(1_000);

    expect(waiting.map(({ error }) => error)).toEqual(inOrder(9).map((value) => (value === '5' ? refusal : undefined)));
    expect(valuesOf(memory)).toEqual(inOrder(9).filter((value) => value !== '5'));
    // Transactions of nine, four, two and one have it.
    expect(memory.store.count((call) => puts(call, '5'))).toBe(4);
  });

  test('a call that is aborted during a shared creation leaves no entry, and the others get their locks', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const controllers = inOrder(4).map(() => new AbortController());
    memory.store.next(calls.creation, after(memory.clock, 1_000));
    const waiting = controllers.map(({ signal }, index) => follow(locker.lock('a', { ...shared, signal, value: String(index) })));
    await memory.clock.advance(100);

    controllers[0]?.abort();
    controllers[2]?.abort();
    await memory.clock.advance(1_000);

    expect(waiting.map(({ value }) => value?.held)).toEqual([undefined, true, undefined, true]);
    expect(valuesOf(memory)).toEqual(['1', '3']);
  });

  test('all waiters of a session that ended are created again in the order of their calls', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker({ ttlMs: 600_000 }).lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const kinds = [shared, shared, {}, shared, { slots: 2 }];
    const waiting = kinds.map((kind, index) => follow(locker.lock('a', { ...kind, value: String(index) })));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', ...inOrder(5)]);
    const [, entry] = memory.etcd.leaseIds;

    memory.etcd.revoke(entry ?? '');
    await memory.clock.advance(10_000);

    expect(valuesOf(memory)).toEqual(['holder', ...inOrder(5)]);
    await holder.release();
    await releaseInOrder(waiting);
  });

  test('a caller that inherits an entry of another TTL is created before later callers', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const first = follow(locker.lock('a', { ttlMs: 10_000, signal: controller.signal }));
    await memory.clock.advance(100);
    const second = follow(locker.lock('a', { ttlMs: 20_000, value: '0' }));
    const third = follow(locker.lock('a', { ...shared, ttlMs: 10_000, value: '1' }));
    await memory.clock.advance(100);

    controller.abort();
    await memory.clock.advance(1_000);

    expect(valuesOf(memory)).toEqual(['holder', '0', '1']);
    expect(first.isSettled).toBe(true);
    await holder.release();
    await releaseInOrder([second, third]);
  });

  test('tryLock() waits for a caller that inherits an entry of another TTL', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    memory.store.next(calls.creation, after(memory.clock, 100));
    void errorOf(locker.lock('a', { ttlMs: 10_000, signal: controller.signal }));
    const early = follow(locker.tryLock('a', { ttlMs: 10_000 }));
    await memory.clock.advance(200);
    const waiting = follow(locker.lock('a', { ttlMs: 20_000 }));
    memory.store.next(calls.grant, after(memory.clock, 1_000));

    controller.abort();
    await memory.clock.advance(10);
    await holder.release();
    const tried = follow(locker.tryLock('a', { ttlMs: 10_000 }));
    await memory.clock.advance(2_000);

    expect(early.value).toBeNull();
    expect(waiting.value?.held).toBe(true);
    expect(tried.value).toBeNull();
  });

  test('a hand-over that another one took along leaves no entry when its caller gives up meanwhile', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const kind = { slots: 2 };
    const [one, two] = [await locker.lock('a', kind), await locker.lock('a', kind)];
    const controller = new AbortController();
    const third = follow(locker.lock('a', kind));
    const fourth = follow(locker.lock('a', { ...kind, signal: controller.signal }));
    await memory.clock.advance(10);

    const first = follow(one.release());
    queueMicrotask(() => {
      controller.abort();
    });
    const second = follow(two.release());
    await memory.clock.advance(10);

    expect([first.isSettled, second.isSettled, fourth.isSettled]).toEqual([true, true, true]);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([third.value?.key]);
  });

  test('a release does not wait for a creation that is under way', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const kind = { slots: 2 };
    const [one, two] = [await locker.lock('a', kind), await locker.lock('a', kind)];
    const [third, fourth] = [follow(locker.lock('a', kind)), follow(locker.lock('a', kind))];
    memory.store.next(calls.handOver, hangs);

    const first = follow(one.release());
    await memory.clock.settle();
    const second = follow(two.release());
    await memory.clock.advance(10);

    expect([first.isSettled, second.isSettled]).toEqual([false, true]);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([one.key]);
    expect([third.isSettled, fourth.isSettled]).toEqual([false, false]);
    await locker.close();
    await memory.clock.advance(20_000);
  });
});

describe('entries of one revision', () => {
  test('a semaphore counts them in the order of the calls, also by a slow look', async () => {
    await using memory = await openFaultyMemory();
    const other = memory.createLocker();
    const kind = { slots: 3 };
    const [one, two] = [await other.lock('a', kind), await other.lock('a', kind)];
    const locker = memory.createLocker();
    await locker.lock('open');
    const waiting = inOrder(3).map((value) => follow(locker.lock('a', { ...kind, value })));
    await memory.clock.settle();
    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, false, false]);
    expect(new Set(memory.entries('a').map(({ createRevision }) => createRevision)).size).toBe(3);

    memory.store.breakWatches();
    await one.release();
    await memory.clock.advance(10_000);
    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, true, false]);
    await waiting[1]?.value?.release();
    await memory.clock.advance(10_000);

    expect(waiting.map(({ value }) => value?.held)).toEqual([true, false, true]);
    expect(two.held).toBe(true);
  });

  test('inspect() reports them in the order of the calls', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const locks = await Promise.all(inOrder(12).map((value) => locker.lock('a', { ...shared, value })));

    const { holders } = await locker.inspect('a');

    expect(holders.map(({ value }) => value)).toEqual(inOrder(12));
    expect(new Set(locks.map(({ fencingToken }) => fencingToken)).size).toBe(1);
  });
});

describe('looks of one name', () => {
  test('64 readers behind a writer need no look when it is released, and get their locks in order', async () => {
    await using memory = await openFaultyMemory();
    const writer = await memory.createLocker().lock('a');
    const locker = memory.createLocker();
    const resolved: string[] = [];
    const readers = inOrder(64).map(async (value) => {
      await locker.lock('a', { ...shared, value });
      resolved.push(value);
    });
    await memory.clock.settle();
    const before = memory.store.count(calls.read);

    await writer.release();
    await Promise.all(readers);

    expect(memory.store.count(calls.read) - before).toBe(0);
    expect(resolved).toEqual(inOrder(64));
  });

  test('a call whose look is late does not keep later ones waiting', async () => {
    await using memory = await openFaultyMemory();
    const writer = await memory.createLocker().lock('a');
    const locker = memory.createLocker();
    const first = follow(locker.lock('a', { ...shared, value: '0', ttlMs: 30_000 }));
    await memory.clock.settle();
    const second = follow(locker.lock('a', { ...shared, value: '1' }));
    await memory.clock.settle();
    memory.store.next(calls.read, hangs);

    await writer.release();
    await memory.clock.settle();
    const third = follow(locker.lock('a', { ...shared, value: '2' }));
    await memory.clock.settle();

    // The response to the creation of the third shows that the others are admitted too.
    expect([first, second, third].map(({ value }) => value?.held)).toEqual([true, true, true]);
  });
});

async function releaseInOrder(waiting: readonly Followed<Lock>[]): Promise<void> {
  for (const { promise } of waiting) await (await promise).release();
}
