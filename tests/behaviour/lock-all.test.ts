/** Tests of lockAll() and tryLockAll() under faults: all locks or none. */
import type { LockOptions, MultiLock } from 'etcd-locker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { after, calls, hangs, lostResponse, lostRequest, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { EtcdAuthError } from '../../src/errors.ts';

describe('lockAll()', () => {
  test('sends one commit for each name, and its release sends all deletions in one tick', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const before = memory.store.calls.length;

    const all = await locker.lockAll(['c', 'a', 'b']);
    expect(memory.store.calls.length - before).toBe(3);
    void all.release();

    expect(memory.store.calls.length - before).toBe(6);
    expect(memory.store.calls.slice(-3).every(calls.deletion)).toBe(true);
  });

  test('rejects soon after its timeout during an outage, and releases its locks in the background', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('b');
    const all = follow(locker.lockAll(['a', 'b'], { timeoutMs: 3_000 }));
    await memory.clock.advance(100);
    memory.store.every(calls.any, hangs);

    await memory.clock.advance(3_500);

    // The call waits half a second for the value of the holder, which never comes.
    expect(all.error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: undefined });
  });

  test('keeps its whole timeout when the wall clock is set forward before the second name', async () => {
    await using memory = await openFaultyMemory();
    const others = memory.createLocker();
    const [a, b] = [await others.lock('a'), await others.lock('b')];
    const all = follow(memory.createLocker().lockAll(['a', 'b'], { timeoutMs: 3_000 }));
    await memory.clock.advance(100);

    memory.clock.jumpWall(5_000);
    await a.release();
    await memory.clock.advance(2_000);

    expect(all.isSettled).toBe(false);
    await b.release();
    await memory.clock.advance(100);
    expect((await all.promise).held).toBe(true);
  });

  test('holds no lock after an abort at any step of the acquisition', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    for (let steps = 0; steps < 40; steps += 1) {
      const controller = new AbortController();
      const all = follow(locker.lockAll(['a', 'b', 'c'], { signal: controller.signal }));
      for (let step = 0; step < steps; step += 1) await Promise.resolve();

      controller.abort();
      await memory.clock.settle();

      expect(all.isSettled).toBe(true);
      if (all.value === undefined) expect(['a', 'b', 'c'].flatMap((name) => memory.entries(name))).toEqual([]);
      else await all.value.release();
    }
  });

  test('leaves no entry after close() at any step of the acquisition', async () => {
    for (let steps = 0; steps < 40; steps += 1) {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      await locker.lock('open');
      const all = follow(locker.lockAll(['a', 'b', 'c']));
      for (let step = 0; step < steps; step += 1) await Promise.resolve();

      await locker.close();
      await memory.clock.settle();

      if (all.value === undefined) expect(all.error).toMatchObject({ code: 'LOCKER_CLOSED' });
      else expect(all.value.held).toBe(false);
      expect(['a', 'b', 'c'].flatMap((name) => memory.entries(name))).toEqual([]);
    }
  });

  test('rejects with LockLostError if a lock expired while the process was frozen before the last name', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const other = memory.createLocker();
    const b = await other.lock('b');
    const all = follow(locker.lockAll(['a', 'b']));
    await memory.clock.advance(100);

    memory.clock.freeze(60_000);
    void b.release().catch(() => undefined);
    await memory.clock.advance(1_000);

    expect(all.value).toBeUndefined();
    expect(all.error).toMatchObject({ code: 'LOCK_LOST', lockName: 'a', reason: 'expired' });
  });

  test.each([
    ['request', lostRequest],
    ['response', lostResponse],
  ])('holds each name once if the first %s for each name is lost', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, fault, fault, fault);

    const locking = follow(locker.lockAll(['a', 'b', 'c']));
    // After two tries a creation pauses.
    await memory.clock.advance(100);
    const all = locking.value;

    expect(all?.held).toBe(true);
    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([1, 1, 1]);
    expect(all?.locks.map(({ key }) => key)).toEqual(['a', 'b', 'c'].map((name) => memory.entries(name)[0]?.key));
  });

  test('reports the loss of the session once, and hands each name over once', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const all = await locker.lockAll(['a', 'b']);
    const reasons: unknown[] = [];
    all.signal.addEventListener('abort', () => reasons.push(all.signal.reason));
    const next = ['a', 'b'].map((name) => follow(locker.lock(name, { ttlMs: 30_000 })));
    memory.etcd.revoke(all.locks[0]?.leaseId ?? '');

    await memory.clock.advance(6_000);

    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
    expect(next.map(({ value }) => value?.held)).toEqual([true, true]);
  });

  test('release() rejects if etcd refuses one deletion, and releases the other locks', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const all = await locker.lockAll(['a', 'b', 'c']);
    const refusal = new EtcdAuthError('locks/', 'denied');
    memory.store.next(calls.deletion, refused(refusal));

    expect(await errorOf(all.release())).toBe(refusal);

    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([1, 0, 0]);
  });

  test('the loss of one lock during a release does not abort the signal', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const all = await locker.lockAll(['a', 'b']);
    const { signal } = all;
    memory.store.every(calls.deletion, after(memory.clock, 1_000));
    const released = follow(all.release());
    memory.etcd.commit({ compare: [], then: [{ delete: { key: all.locks[0]?.key ?? '' } }], otherwise: [] });

    await memory.clock.advance(1_100);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(signal.aborted).toBe(false);
  });

  test('a read of any handle past the deadline loses all locks at once', async () => {
    await using memory = await openFaultyMemory();
    const all = await memory.createLocker().lockAll(['a', 'b'], { renew: false });
    const [a, b] = all.locks;

    memory.clock.freeze(14_000);

    expect(b?.held).toBe(false);
    expect(a?.signal.aborted).toBe(true);
    expect(all.signal.reason).toMatchObject({ reason: 'expired' });
    expect(all.remainingMs).toBe(0);
  });

  test('serves twenty clients with random, overlapping names of all kinds without a deadlock', async () => {
    const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 });
    const options = fc.constantFrom<LockOptions>({}, {}, { mode: 'shared' }, { slots: 2 }, { maxHoldMs: 20 }, { timeoutMs: 40 });
    const requests = fc.array(fc.record({ names, options, locker: fc.nat(3), holdMs: fc.nat(30) }), { minLength: 20, maxLength: 20 });

    await fc.assert(
      fc.asyncProperty(requests, async (all) => {
        await using memory = await openFaultyMemory();
        const lockers = Array.from({ length: 4 }, () => memory.createLocker());
        const inside = new Map<string, { readonly slots: number; readonly multi: MultiLock }[]>();
        const served = all.map(async ({ names: requested, options: how, locker, holdMs }) => {
          const multi = await lockers[locker]?.lockAll(requested, how).catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'LOCK_TIMEOUT' });
          });
          if (multi === undefined) return;
          const slots = how.slots ?? (how.mode === 'shared' ? Infinity : 1);
          for (const name of requested) {
            const others = (inside.get(name) ?? []).filter((one) => one.multi.held);
            for (const one of others) expect(one.slots).toBe(slots);
            expect(others.length).toBeLessThan(slots);
            inside.set(name, [...others, { slots, multi }]);
          }
          await new Promise<void>((resolve) => memory.clock.setTimer(holdMs, resolve));
          await multi.release();
        });
        const allServed = follow(Promise.all(served));
        for (let tries = 0; tries < 100 && !allServed.isSettled; tries += 1) await memory.clock.advance(20);
        expect(allServed.error).toBeUndefined();
        expect(allServed.isSettled).toBe(true);
      }),
      { numRuns: 40 },
    );
  });
});

describe('tryLockAll()', () => {
  test('sends one commit, and none if this process holds one of the names', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const before = memory.store.calls.length;

    await locker.tryLockAll(['a', 'b', 'c']);
    expect(memory.store.calls.length - before).toBe(1);
    expect(await locker.tryLockAll(['d', 'b'])).toBeNull();

    expect(memory.store.calls.length - before).toBe(1);
  });

  test.each([
    ['request', lostRequest],
    ['response', lostResponse],
  ])('has one entry for each name if the %s is lost', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, fault);

    const all = await locker.tryLockAll(['a', 'b', 'c']);

    expect(all?.held).toBe(true);
    expect(all?.locks.map(({ key }) => key)).toEqual(['a', 'b', 'c'].map((name) => memory.entries(name)[0]?.key));
  });

  test('returns null, and leaves no entry, if its response is lost and one of its entries was deleted meanwhile', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const other = memory.createLocker();
    await locker.lock('open');
    await other.lock('open too');
    const deletedMeanwhile = async (send: () => Promise<unknown>, call: Parameters<typeof calls.creation>[0]): Promise<unknown> => {
      const response = lostResponse(send, call);
      await response.catch(() => undefined);
      const key = memory.entries('b')[0]?.key ?? '';
      memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
      await other.lock('b');
      return response;
    };
    memory.store.next(calls.creation, deletedMeanwhile);

    expect(await locker.tryLockAll(['a', 'b', 'c'])).toBeNull();
    await memory.clock.advance(100);

    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([0, 1, 0]);
  });
});
