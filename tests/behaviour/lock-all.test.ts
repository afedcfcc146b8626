import type { LockOptions, MultiLock } from 'etcd-locker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { after, calls, hangs, lostAnswer, lostRequest, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { EtcdAuthError } from '../../src/errors.ts';

describe('lockAll()', () => {
  test('takes a commit a name, and its release one each in the same turn', async () => {
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

  test('rejects at once, and frees what it had in the background, when its time is up in an outage', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('b');
    const all = follow(locker.lockAll(['a', 'b'], { timeoutMs: 3_000 }));
    await memory.clock.advance(100);
    memory.store.every(calls.any, hangs);

    await memory.clock.advance(3_500);

    // Half a second for the value of the holder, of which nothing can be heard.
    expect(all.error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: undefined });
  });

  test('has all its time though the wall clock is set forward before the second name (seed 422111095 of the simulation)', async () => {
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

  test('aborted in the very turn in which a name was got: none is kept', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    for (let turns = 0; turns < 40; turns += 1) {
      const controller = new AbortController();
      const all = follow(locker.lockAll(['a', 'b', 'c'], { signal: controller.signal }));
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();

      controller.abort();
      await memory.clock.settle();

      expect(all.isSettled).toBe(true);
      if (all.value === undefined) expect(['a', 'b', 'c'].flatMap((name) => memory.entries(name))).toEqual([]);
      else await all.value.release();
    }
  });

  test('closed in the very turn in which a name was got: nothing is left', async () => {
    for (let turns = 0; turns < 40; turns += 4) {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      await locker.lock('open');
      const all = follow(locker.lockAll(['a', 'b', 'c']));
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();

      await locker.close();
      await memory.clock.settle();

      if (all.value === undefined) expect(all.error).toMatchObject({ code: 'LOCKER_CLOSED' });
      else expect(all.value.held).toBe(false);
      expect(['a', 'b', 'c'].flatMap((name) => memory.entries(name))).toEqual([]);
    }
  });

  test('does not give out what expired while the process was frozen before the last name', async () => {
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
    ['answer', lostAnswer],
  ])('holds each name once where every %s is lost the first time', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, fault, fault, fault);

    const all = await locker.lockAll(['a', 'b', 'c']);

    expect(all.held).toBe(true);
    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([1, 1, 1]);
    expect(all.locks.map(({ key }) => key)).toEqual(['a', 'b', 'c'].map((name) => memory.entries(name)[0]?.key));
  });

  test('the loss of the session is one loss: the first of the locks tells it, and what is given back is not handed over twice', async () => {
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

  test('release() tells the refusal of one, and has given back the others', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const all = await locker.lockAll(['a', 'b', 'c']);
    const refusal = new EtcdAuthError('locks/', 'denied');
    memory.store.next(calls.deletion, refused(refusal));

    expect(await errorOf(all.release())).toBe(refusal);

    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([1, 0, 0]);
  });

  test('the loss of one in the middle of a release loses nothing more', async () => {
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

  test('reading any of them past the deadline loses all there and then', async () => {
    await using memory = await openFaultyMemory();
    const all = await memory.createLocker().lockAll(['a', 'b'], { renew: false });
    const [a, b] = all.locks;

    memory.clock.freeze(14_000);

    expect(b?.held).toBe(false);
    expect(a?.signal.aborted).toBe(true);
    expect(all.signal.reason).toMatchObject({ reason: 'expired' });
    expect(all.remainingMs).toBe(0);
  });

  test('no deadlock: twenty clients that ask for random, overlapping names of all kinds are all served', async () => {
    const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 });
    const options = fc.constantFrom<LockOptions>({}, {}, { mode: 'shared' }, { slots: 2 }, { maxHoldMs: 20 }, { timeoutMs: 40 });
    const calls20 = fc.array(fc.record({ names, options, locker: fc.nat(3), holdMs: fc.nat(30) }), { minLength: 20, maxLength: 20 });

    await fc.assert(
      fc.asyncProperty(calls20, async (all) => {
        await using memory = await openFaultyMemory();
        const lockers = Array.from({ length: 4 }, () => memory.createLocker());
        const inside = new Map<string, { readonly slots: number; readonly multi: MultiLock }[]>();
        const served = all.map(async ({ names: asked, options: how, locker, holdMs }) => {
          const multi = await lockers[locker]?.lockAll(asked, how).catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'LOCK_TIMEOUT' });
          });
          if (multi === undefined) return;
          const slots = how.slots ?? (how.mode === 'shared' ? Infinity : 1);
          for (const name of asked) {
            const there = (inside.get(name) ?? []).filter((one) => one.multi.held);
            for (const one of there) expect(one.slots).toBe(slots);
            expect(there.length).toBeLessThan(slots);
            inside.set(name, [...there, { slots, multi }]);
          }
          await new Promise<void>((resolve) => memory.clock.setTimer(holdMs, resolve));
          await multi.release();
        });
        const everybody = follow(Promise.all(served));
        for (let tries = 0; tries < 100 && !everybody.isSettled; tries += 1) await memory.clock.advance(20);
        expect(everybody.error).toBeUndefined();
        expect(everybody.isSettled).toBe(true);
      }),
      { numRuns: 40 },
    );
  });
});

describe('tryLockAll()', () => {
  test('takes one commit, and none where one of the names is taken in this process', async () => {
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
    ['answer', lostAnswer],
  ])('holds all, once, where the %s was lost', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, fault);

    const all = await locker.tryLockAll(['a', 'b', 'c']);

    expect(all?.held).toBe(true);
    expect(all?.locks.map(({ key }) => key)).toEqual(['a', 'b', 'c'].map((name) => memory.entries(name)[0]?.key));
  });

  test('answers null, and leaves nothing, where its answer was lost and one of its entries was deleted by then', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const other = memory.createLocker();
    await locker.lock('open');
    await other.lock('open too');
    const robbed = async (send: () => Promise<unknown>, call: Parameters<typeof calls.creation>[0]): Promise<unknown> => {
      const answer = lostAnswer(send, call);
      await answer.catch(() => undefined);
      const key = memory.entries('b')[0]?.key ?? '';
      memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
      await other.lock('b');
      return answer;
    };
    memory.store.next(calls.creation, robbed);

    expect(await locker.tryLockAll(['a', 'b', 'c'])).toBeNull();
    await memory.clock.advance(100);

    expect(['a', 'b', 'c'].map((name) => memory.entries(name).length)).toEqual([0, 1, 0]);
  });
});
