/** Tests of the life of a session: opening, idle time, sealing and revocation. */
import { EtcdAuthError, EtcdRefusedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, respondsAfter, unreachable, calls, hangs, lostRequest, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const denied = () => new EtcdAuthError('locks/', 'permission denied');

describe('an idle session', () => {
  test('a session is revoked after it was idle for a TTL', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await memory.clock.advance(1_000);
    const lock = await locker.lock('a');
    await memory.clock.advance(20_000);
    await lock.release();

    await memory.clock.advance(14_999);
    expect(memory.etcd.leaseIds).toEqual([lock.leaseId]);
    await memory.clock.advance(751);

    expect(memory.etcd.leaseIds).toEqual([]);
    expect(memory.clock.timerCount).toBe(0);
  });

  test('a session is used again by a lock that comes before the session was idle for a TTL', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    await first.release();

    await memory.clock.advance(14_000);
    const second = await locker.lock('b');
    await memory.clock.advance(60_000);

    expect(second.leaseId).toBe(first.leaseId);
    expect(second.held).toBe(true);
  });

  test('a session takes no new entry while its lease is being revoked', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    await first.release();
    memory.store.next(calls.revoke, respondsAfter(memory.clock, 3_000));
    while (memory.store.count(calls.revoke) === 0) await memory.clock.advance(10);

    const second = await locker.lock('a');

    expect(second.leaseId).not.toBe(first.leaseId);
    await memory.clock.advance(5_000);
    expect(second.held).toBe(true);
  });

  test('a session is not idle until its deletions are confirmed', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const stopFault = memory.store.every(calls.deletion, unreachable(memory.clock));
    const released = follow(lock.release());

    await memory.clock.advance(40_000);
    expect(memory.store.count(calls.revoke)).toBe(0);
    expect(released.isSettled).toBe(false);
    stopFault();
    await memory.clock.advance(6_000);

    expect(released.isSettled).toBe(true);
    expect(memory.entries('a')).toEqual([]);
  });
});

describe('the opening of a session', () => {
  test('50 first locks at once grant one lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 1_000));
    const locks = Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? locker.lock(String(index)) : locker.tryLock(String(index))));

    await memory.clock.advance(1_000);

    expect(new Set((await Promise.all(locks)).map((lock) => lock?.leaseId)).size).toBe(1);
    expect(memory.store.count(calls.grant)).toBe(1);
  });

  test('an abort of the first lock does not abort the opening for the others', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const controller = new AbortController();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 1_000));
    const aborted = errorOf(locker.lock('a', { signal: controller.signal }));
    const other = locker.lock('b');

    controller.abort();
    expect(await aborted).toBe(controller.signal.reason);
    await memory.clock.advance(1_000);

    expect((await other).held).toBe(true);
    expect(memory.store.count(calls.grant)).toBe(1);
    expect(memory.entries('a')).toEqual([]);
  });

  test('the next call opens a session after a failed opening', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.grant, lostRequest, refused(denied()));

    const errors = [await errorOf(locker.lock('a')), await errorOf(locker.lock('a'))];

    expect(errors).toMatchObject([{ code: 'ETCD_UNAVAILABLE' }, { code: 'ETCD_AUTH', prefix: 'locks/' }]);
    expect((await locker.lock('a')).held).toBe(true);
  });

  test('a lease is revoked when etcd refuses its gate', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.commit, refused(denied()));

    expect(await errorOf(locker.lock('a'))).toMatchObject({ code: 'ETCD_AUTH' });
    await memory.clock.settle();

    expect(memory.etcd.leaseIds).toEqual([]);
  });

  test('close() during the opening leaves no lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 1_000));
    const waiting = errorOf(locker.lock('a'));

    const closed = follow(locker.close());
    expect(await waiting).toMatchObject({ code: 'LOCKER_CLOSED' });
    await memory.clock.advance(1_000);

    expect(closed.isSettled).toBe(true);
    expect(memory.etcd.leaseIds).toEqual([]);
  });

  test('close() resolves after requestTimeoutMs when a revoke hangs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 700 });
    await locker.lock('a');
    memory.store.next(calls.revoke, hangs);

    const closed = follow(locker.close());
    await memory.clock.advance(699);
    expect(closed.isSettled).toBe(false);
    await memory.clock.advance(1);

    expect(closed.isSettled).toBe(true);
    expect(memory.clock.isHeld).toBe(false);
  });
});

describe('a gate that is created only after its lease expired', () => {
  test.each(['lock', 'tryLock'] as const)('%s() rejects with EtcdUnavailableError after requestTimeoutMs', async (method) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 2_000, requestTimeoutMs: 5_000 });
    const stopFault = memory.store.every(calls.gatePut, after(memory.clock, 2_100));

    const call = follow<unknown>(locker[method]('a'));
    await memory.clock.advance(10_000);

    expect(call.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    const grants = memory.store.count(calls.grant);
    await memory.clock.advance(10_000);
    expect(memory.store.count(calls.grant)).toBe(grants);
    stopFault();
    const next = follow(locker.lock('a'));
    await memory.clock.advance(1_000);
    expect(next.value?.held).toBe(true);
  });
});

describe('a session after etcd refused a deletion', () => {
  test.each([new EtcdRefusedError('no space'), denied()])('release() rejects with $name', async (refusal) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.deletion, refused(refusal));

    expect(await errorOf(lock.release())).toBe(refusal);
  });

  test('it takes no new entry, its waiters enqueue in a new session, and its locks stay held', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const theirs = await other.lock('b', { value: 'theirs' });
    const [refusedOne, kept] = [await locker.lock('a'), await locker.lock('kept')];
    const waiting = follow(locker.lock('b', { value: 'waits' }));
    await memory.clock.settle();
    const [, before] = memory.entries('b');
    memory.store.next(calls.deletion, refused(denied()));

    expect(await errorOf(refusedOne.release())).toMatchObject({ code: 'ETCD_AUTH' });
    await memory.clock.advance(60_000);

    expect(kept.held).toBe(true);
    expect((await locker.lock('new')).leaseId).not.toBe(kept.leaseId);
    const [, moved] = memory.entries('b');
    expect(moved).toMatchObject({ value: 'waits' });
    expect(moved?.key).not.toBe(before?.key);
    await theirs.release();
    expect((await waiting.promise).leaseId).not.toBe(kept.leaseId);
  });

  test('the entry is deleted once etcd permits it, while other locks keep the lease', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 15_000 });
    const [refusedOne, kept] = [await locker.lock('a'), await locker.lock('kept')];
    const permit = memory.store.every(calls.deletion, refused(denied()));
    expect(await errorOf(refusedOne.release())).toMatchObject({ code: 'ETCD_AUTH' });
    await memory.clock.advance(30_000);
    expect(memory.entries('a')).toHaveLength(1);
    // One try at once, and one with each beat.
    expect(memory.store.count(calls.deletion)).toBeLessThanOrEqual(7);
    permit();

    await memory.clock.advance(5_000);

    expect(memory.entries('a')).toEqual([]);
    expect(kept.held).toBe(true);
    expect((await memory.createLocker().tryLock('a'))?.held).toBe(true);
  });

  test('it is not renewed after the last lock is released, so that the lease ends the entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [refusedOne, kept] = [await locker.lock('a'), await locker.lock('kept')];
    memory.store.every(calls.deletion, refused(denied()));
    await errorOf(refusedOne.release());
    await memory.clock.advance(30_000);
    expect(memory.entries('a')).toHaveLength(1);

    await errorOf(kept.release());
    const renewals = memory.store.count(calls.renew);
    await memory.clock.advance(15_000);

    expect(memory.store.count(calls.renew)).toBe(renewals);
    expect(memory.entries('a')).toEqual([]);
    expect(memory.etcd.leaseIds).toEqual([]);
  });

  test('withLock() rejects with the error of its function when etcd also refuses the release', async () => {
    await using memory = await openFaultyMemory();
    const warnings: unknown[] = [];
    const logger = { ...console, warn: (message: unknown) => warnings.push(message) };
    const locker = memory.createLocker({ logger });
    memory.store.next(calls.deletion, refused(denied()));
    const failure = new Error('mine');

    expect(await errorOf(locker.withLock('a', () => Promise.reject(failure)))).toBe(failure);

    expect(warnings).toHaveLength(1);
  });

  test('withLock() rejects when its function succeeds but etcd refuses the release', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.deletion, refused(denied()));

    expect(await errorOf(memory.createLocker().withLock('a', () => 1))).toMatchObject({ code: 'ETCD_AUTH' });
  });
});

test('close() at any step of the first calls leaves nothing, and each call ends', async () => {
  for (let ticks = 0; ticks < 40; ticks += 1) {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const callers = [
      locker.lock('a'),
      locker.lock('b', { slots: 2 }),
      locker.lock('c', { renew: false }),
      locker.tryLockAll(['d', 'e'], { renew: false }),
    ].map((caller) => follow<{ readonly held: boolean } | null>(caller));
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();

    await locker.close();
    await memory.clock.settle();

    for (const { isSettled, error, value } of callers) {
      expect(isSettled).toBe(true);
      if (error === undefined) expect(value?.held).toBe(false);
      else expect(error).toMatchObject({ code: 'LOCKER_CLOSED' });
    }
    expect(memory.clock.timerCount).toBe(0);
  }
});
