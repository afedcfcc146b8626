/** Tests of minHoldMs under faults: what a release before its end leaves in etcd, and for how long. */
import { LockLostError, type LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { leaseHex } from '../../src/keys.ts';
import {
  after,
  appliedLater,
  type Call,
  calls,
  type FaultyMemory,
  hangs,
  lostRequest,
  lostResponse,
  openFaultyMemory,
  outOfSpace,
  respondsAfter,
  unreachable,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

/** Moves a released entry to a lease of its own. */
const isMove = (call: Call): boolean =>
  calls.value(call) && call.method === 'commit' && call.transaction.compare.every(({ target }) => target === 'create');

const options: LockOptions = { minHoldMs: 10_000 };

/** How long the name stays taken from now on, in milliseconds; at most two minutes. */
async function timeUntilFree(memory: FaultyMemory, name = 'a'): Promise<number> {
  let ms = 0;
  for (; memory.entries(name).length > 0 && ms < 120_000; ms += 100) await memory.clock.advance(100);
  return ms;
}

describe('a release before the end of minHoldMs', () => {
  test('leaves the name taken for the whole seconds that are left, and then the next waiter gets it', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', options);
    const waiting = follow(other.lock('a'));
    await memory.clock.advance(2_500);

    await lock.release();

    expect(lock.held).toBe(false);
    expect(memory.entries('a')[0]).toMatchObject({ key: lock.key, value: lock.value, createRevision: lock.fencingToken });
    expect(await other.tryLock('a')).toBeNull();
    expect(await locker.tryLock('a')).toBeNull();
    await memory.clock.advance(7_900);
    expect(waiting.isSettled).toBe(false);
    await memory.clock.advance(100);
    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
  });

  test('sends a grant and a put, and a release after it sends one deletion', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const early = await locker.lock('a', options);
    const late = await locker.lock('b', options);
    const before = memory.store.calls.length;

    await early.release();

    expect(memory.store.calls.slice(before).map((call) => (isMove(call) ? 'move' : call.method))).toEqual(['grant', 'move']);
    await memory.clock.advance(10_000);
    await late.release();
    expect(memory.store.count(calls.deletion)).toBe(1);
    expect(memory.entries('b')).toEqual([]);
  });

  test('shows the name as held, with the last value and a lease without a gate', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    await lock.setValue('done');

    await lock.release();

    const { held, holders } = await locker.inspect('a');
    expect(held).toBe(true);
    expect(holders).toMatchObject([{ key: lock.key, value: 'done', fencingToken: lock.fencingToken }]);
    expect(holders[0]?.leaseId).not.toBe(lock.leaseId);
    const gate = { key: `locks/@sessions/${leaseHex(holders[0]?.leaseId ?? '0')}` };
    expect(memory.etcd.commit({ compare: [], then: [{ range: gate }], otherwise: [] }).ranges).toEqual([[]]);
  });

  test('a value whose response was lost never brings back the lease of the session', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    const late = appliedLater();
    memory.store.next(calls.value, late.fault);
    const written = follow(lock.setValue('late'));
    await memory.clock.settle();

    await lock.release();
    await late.apply();
    await locker.close();

    expect(written.isSettled).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ key: lock.key, value: lock.value }]);
  });

  test('counts by the monotonic clock alone', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 60_000 });
    const [forward, back] = [await locker.lock('a', options), await locker.lock('b', options)];

    memory.clock.jumpWall(9_000);
    await forward.release();
    memory.clock.jumpWall(-3_600_000);
    await back.release();

    expect(await timeUntilFree(memory, 'a')).toBe(10_000);
    expect(memory.entries('b')).toEqual([]);
  });

  test('applies when fn of withLock() rejects, when maxHoldMs ends the lock, and with tryLock() and tryLockAll()', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const failure = new Error('the job failed');

    expect(await errorOf(locker.withLock('a', options, () => Promise.reject(failure)))).toBe(failure);
    const limited = await locker.lock('b', { ...options, maxHoldMs: 1_000 });
    const [tried, triedAll] = [await locker.tryLock('c', options), await locker.tryLockAll(['d', 'e'], options)];
    await tried?.release();
    await triedAll?.release();
    await memory.clock.advance(9_900);

    expect(limited.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(['a', 'b', 'c', 'd', 'e'].map((name) => memory.entries(name).length)).toEqual([1, 1, 1, 1, 1]);
    await memory.clock.advance(100);
    expect(['a', 'b', 'c', 'd', 'e'].map((name) => memory.entries(name).length)).toEqual([0, 0, 0, 0, 0]);
  });

  test('of lockAll() counts from the last acquisition, and a call that fails frees its names at once', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await other.lock('b');
    const failed = follow(locker.lockAll(['a', 'b'], { ...options, timeoutMs: 1_000 }));
    await memory.clock.advance(1_000);
    expect(failed.error).toMatchObject({ code: 'LOCK_TIMEOUT' });
    expect(memory.entries('a')).toEqual([]);
    const waiting = follow(locker.lockAll(['a', 'b'], options));
    await memory.clock.advance(5_000);

    await holder.release();
    await (await waiting.promise).release();

    expect(await timeUntilFree(memory, 'a')).toBe(10_000);
    expect(memory.entries('b')).toEqual([]);
  });
});

describe('callers of the same process', () => {
  test('do not get the lock by a hand-over, but queue up with an entry of their own', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    const [second, third] = [follow(locker.lock('a', options)), follow(locker.lock('a'))];
    await memory.clock.settle();

    await lock.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.handOver)).toBe(0);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([lock.key, expect.not.stringMatching(lock.key)]);
    await memory.clock.advance(9_900);
    expect(second.isSettled).toBe(false);
    await memory.clock.advance(100);
    expect(second.value?.held).toBe(true);
    await second.value?.release();
    await memory.clock.advance(9_900);
    expect(third.isSettled).toBe(false);
    await memory.clock.advance(100);
    expect(third.value?.held).toBe(true);
  });

  test('use the key of the released entry again only when its lease is certainly over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await using keepsSession = await locker.lock('other');
    const keys = new Set<string>();
    const lockOnce = async (): Promise<string> => {
      await using lock = await locker.lock('a');
      return lock.key;
    };
    const first = await locker.lock('a', options);
    await first.release();

    await memory.clock.advance(10_000);
    keys.add(await lockOnce()).add(await lockOnce());
    expect(keys).not.toContain(first.key);
    // A change of leader gives the lease its whole time again.
    await memory.clock.advance(15_000);

    expect(keysOf(keepsSession.leaseId, first.key)).toBe(true);
    expect(await lockOnce()).toBe(first.key);
  });

  test('take no lock of a creation whose response is lost while the released entry stands', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    await lock.release();
    memory.store.next(calls.creation, lostRequest, lostResponse, lostRequest);

    const next = follow(locker.lock('a'));
    await memory.clock.advance(9_900);

    expect(memory.entries('a')[0]).toMatchObject({ key: lock.key, createRevision: lock.fencingToken });
    expect(next.isSettled).toBe(false);
    await memory.clock.advance(100);
    expect(next.value?.held).toBe(true);
  });

  test('take no lock by the released entry if leaders come and go, and the response to a creation is lost', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await using keepsSession = await locker.lock('other');
    const first = await locker.lock('a', options);
    await first.release();
    const { ranges } = memory.etcd.commit({ compare: [], then: [{ range: { key: first.key } }], otherwise: [] });
    const leaseOfFirst = ranges[0]?.[0]?.leaseId ?? '';
    // Each new leader gives the lease its whole time again.
    for (let changes = 0; changes < 20; changes += 1) {
      await memory.clock.advance(2_000);
      memory.etcd.renew(leaseOfFirst);
    }
    memory.store.next(calls.creation, lostResponse);

    const next = follow(locker.lock('a'));
    await memory.clock.advance(5_000);

    expect(keepsSession.held).toBe(true);
    expect(memory.entries('a')[0]).toMatchObject({ key: first.key, createRevision: first.fencingToken });
    expect(next.isSettled).toBe(false);
    await memory.clock.advance(10_000);
    expect(next.value?.held).toBe(true);
    expect(next.value?.fencingToken).toBeGreaterThan(first.fencingToken);
  });

  const keysOf = (leaseId: string, key: string): boolean => key.includes(`/${leaseHex(leaseId)}-`);
});

describe('the move to another lease', () => {
  test.each([
    ['the response to its grant is lost', calls.grant, lostResponse],
    ['its grant is lost', calls.grant, lostRequest],
    ['the response to its put is lost', isMove, lostResponse],
    ['its put is lost', isMove, lostRequest],
  ])('is repeated when %s', async (_, match, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    memory.store.next(match, fault, fault);
    const released = follow(lock.release());

    await memory.clock.advance(1_000);
    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await locker.close();

    // Rounded up to whole seconds at the grant that got its response.
    const freeAfterMs = await timeUntilFree(memory);
    expect(freeAfterMs).toBeGreaterThanOrEqual(9_000);
    expect(freeAfterMs).toBeLessThanOrEqual(10_000);
  });

  test('a put that etcd applies late changes no later entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    const late = appliedLater();
    memory.store.next(isMove, late.fault);
    memory.store.every(isMove, lostRequest);
    const released = follow(lock.release());
    await memory.clock.advance(11_000);
    expect(released.isSettled).toBe(true);
    const next = await locker.lock('a');

    expect(next.key).toBe(lock.key);
    await errorOf(late.apply());

    expect(memory.entries('a')).toMatchObject([{ key: next.key, leaseId: next.leaseId }]);
  });

  test('takes another lease if its first one was revoked, and deletes the entry if the time is over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 60_000 });
    const [lock, slow] = [await locker.lock('a', options), await locker.lock('b', options)];
    memory.store.next(isMove, (send, call) => {
      if (call.method === 'commit') for (const one of call.transaction.then) if ('put' in one) memory.etcd.revoke(one.put.leaseId);
      return send();
    });

    const released = follow(lock.release());
    await memory.clock.advance(1_000);
    expect(released.isSettled).toBe(true);
    expect(memory.entries('a')).toHaveLength(1);
    // The process stands still between the response to the grant and the put.
    memory.store.next(isMove, after(memory.clock, 60_000));
    const late = follow(slow.release());
    await memory.clock.advance(60_100);

    expect(late).toMatchObject({ isSettled: true, error: undefined });
    expect(memory.entries('b')).toEqual([]);
  });

  test('grants only the time that is left when an outage ends', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 60_000 });
    const lock = await locker.lock('a', { minHoldMs: 30_000 });
    const endOutage = memory.store.every(calls.grant, unreachable(memory.clock));
    const released = follow(lock.release());
    await memory.clock.advance(20_000);
    endOutage();

    await memory.clock.advance(3_000);
    expect(released.isSettled).toBe(true);
    await locker.close();

    const freeAfterMs = await timeUntilFree(memory);
    expect(freeAfterMs).toBeGreaterThanOrEqual(7_000);
    expect(freeAfterMs).toBeLessThanOrEqual(8_000);
  });

  test('rejects release() if etcd has no space, and the session keeps the name until the end of minHoldMs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', { minHoldMs: 60_000 });
    memory.store.every(calls.any, outOfSpace);

    expect(await errorOf(lock.release())).toMatchObject({ code: 'ETCD_REFUSED' });

    await memory.clock.advance(59_000);
    expect(memory.entries('a')).toHaveLength(1);
    await memory.clock.advance(3_000);
    expect(memory.entries('a')).toEqual([]);
  });

  test('ends at once if others have deleted the entry', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', options);
    memory.store.next(isMove, (send) => {
      memory.etcd.commit({ compare: [], then: [{ delete: { key: lock.key } }], otherwise: [] });
      return send();
    });

    await lock.release();

    expect((await other.tryLock('a'))?.held).toBe(true);
    expect((await locker.lock('b')).held).toBe(true);
  });
});

describe('breakLock()', () => {
  test.each(['lives', 'is closed'])('frees a name in its minimum hold while its locker %s', async (state) => {
    await using memory = await openFaultyMemory();
    const [locker, operator] = [memory.createLocker(), memory.createLocker()];
    await using other = state === 'lives' ? await locker.lock('b') : undefined;
    const lock = await locker.lock('a', options);
    await lock.release();
    if (state === 'is closed') await locker.close();
    const waiting = follow(operator.lock('a'));
    await memory.clock.settle();

    const removed = await operator.breakLock('a', { fencingToken: lock.fencingToken });
    await memory.clock.advance(100);

    expect(removed).toMatchObject([{ key: lock.key }]);
    expect(waiting.value?.held).toBe(true);
    expect(other?.held ?? true).toBe(true);
  });
});

describe('the audit of the session', () => {
  test('keeps the released entry, also if a list out of date has its key', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await using other = await locker.lock('b');
    const lock = await locker.lock('a', { minHoldMs: 60_000 });
    memory.store.every(calls.leaseKeys, (send) => send().then((keys) => new Set([...(keys as Set<string>), lock.key])));

    await lock.release();
    await memory.clock.advance(30_000);

    expect(other.held).toBe(true);
    expect(memory.entries('a')).toHaveLength(1);
    expect(memory.store.count(calls.deletion)).toBe(0);
  });
});

describe('close()', () => {
  test.each([0, 50, 1_000])('right after release() leaves the name taken, with responses that take %s ms', async (ms) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a', options);
    memory.store.every((call) => calls.grant(call) || isMove(call), respondsAfter(memory.clock, ms));

    const released = follow(lock.release());
    const closed = follow(locker.close());
    await memory.clock.advance(3_000);

    expect([released, closed]).toMatchObject([
      { isSettled: true, error: undefined },
      { isSettled: true, error: undefined },
    ]);
    expect(memory.entries('a')).toHaveLength(1);
    expect(await timeUntilFree(memory)).toBe(7_000);
  });

  test('while it is held loses the lock as closed, and leaves the name taken', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lock, plain] = [await locker.lock('a', options), await locker.lock('b')];
    const multi = await locker.lockAll(['c', 'd'], options);

    const closed = locker.close();
    expect([lock.held, plain.held, multi.held]).toEqual([false, false, false]);
    await closed;

    for (const { signal } of [lock, plain, multi]) expect(signal.reason).toMatchObject({ reason: 'closed' });
    expect(signalErrors([lock.signal, multi.signal])).toBe(true);
    expect(['a', 'b', 'c', 'd'].map((name) => memory.entries(name).length)).toEqual([1, 0, 1, 1]);
    expect(await timeUntilFree(memory)).toBe(10_000);
  });

  test('takes no longer than requestTimeoutMs when etcd does not respond, and leaves no timer', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 1_000 });
    await locker.lock('a', options);
    const released = follow((await locker.lock('b', options)).release());
    memory.store.every(calls.any, hangs);

    const closed = follow(locker.close());
    await memory.clock.advance(1_000);
    expect(closed.isSettled).toBe(true);
    await memory.clock.advance(15_000);

    expect(released.isSettled).toBe(true);
    expect(memory.clock.timerCount).toBe(0);
    expect(memory.entries('a')).toEqual([]);
  });

  const signalErrors = (signals: readonly AbortSignal[]): boolean => signals.every(({ reason }) => reason instanceof LockLostError);
});

describe('a session that ends before the release has finished', () => {
  test('is not revoked before the move, which still succeeds before the end of the lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 10_000, requestTimeoutMs: 1_000 });
    const lock = await locker.lock('a', { minHoldMs: 60_000 });
    const endOutage = memory.store.every(calls.any, after(memory.clock, 100, lostRequest));
    await memory.clock.advance(5_000);
    const released = follow(lock.release());
    // The deadline is at 9 s, the end of the lease at 10 s.
    await memory.clock.advance(4_100);
    expect(memory.store.count(calls.revoke)).toBe(0);
    endOutage();

    await memory.clock.advance(800);
    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await locker.close();
    await memory.clock.advance(40_000);

    expect(memory.entries('a')).toHaveLength(1);
  });

  test('frees the name at the end of its lease if etcd stays away, and release() resolves then', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 10_000, requestTimeoutMs: 1_000 });
    const lock = await locker.lock('a', { minHoldMs: 60_000 });
    memory.store.every(calls.any, unreachable(memory.clock));
    const released = follow(lock.release());

    await memory.clock.advance(9_900);
    expect(released.isSettled).toBe(false);
    await memory.clock.advance(1_100);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(memory.entries('a')).toEqual([]);
  });

  test('frees the name of a lock that was lost before its release', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', { minHoldMs: 60_000 });
    memory.etcd.revoke(lock.leaseId);
    await memory.clock.settle();

    await lock.release();

    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
    expect((await other.tryLock('a'))?.held).toBe(true);
  });
});
