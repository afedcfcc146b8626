/** Tests of an etcd that is out of space: it refuses puts and grants, and takes deletions and reads. */
import { describe, expect, test } from 'vitest';
import {
  calls,
  type FaultyMemory,
  lostRequest,
  openFaultyMemory,
  outOfSpace,
  runsOutOfSpace,
  spaceRefusal,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const valuesOf = (memory: FaultyMemory, name = 'a'): string[] => memory.entries(name).map(({ value }) => value);

/** Locker `b` waits for 'a' behind a holder, and locker `c` behind `b`. */
async function threeInARow(memory: FaultyMemory) {
  const [a, b, c] = [memory.createLocker(), memory.createLocker(), memory.createLocker()];
  const holder = await a.lock('a', { value: 'a' });
  const second = follow(b.lock('a', { value: 'b' }));
  await memory.clock.settle();
  const third = follow(c.lock('a', { value: 'c' }));
  await memory.clock.settle();
  return { a, b, c, holder, second, third };
}

describe('while etcd is out of space', () => {
  test.each(['lock', 'tryLock'] as const)(
    '%s() rejects with the refusal, and the other calls of the process keep their places',
    async (method) => {
      await using memory = await openFaultyMemory();
      const { b, holder, second, third } = await threeInARow(memory);
      const before = memory.entries('a');
      const disarm = memory.store.every(calls.any, outOfSpace);

      const refused = follow<unknown>(b[method]('other'));
      await memory.clock.advance(60_000);

      expect(refused.error).toBe(spaceRefusal);
      expect(memory.entries('a')).toEqual(before);
      expect(memory.store.count(calls.gateMove)).toBe(0);
      // Deletions need no space, so the queue goes on.
      await holder.release();
      await memory.clock.settle();
      expect([second.value?.held, third.isSettled]).toEqual([true, false]);
      disarm();
      const next = await b.lock('other');
      expect(next.leaseId).toBe(second.value?.leaseId);
      await second.value?.release();
      await memory.clock.settle();
      expect(third.value?.held).toBe(true);
    },
  );

  test('tryLockAll() rejects with the refusal, and leaves no entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.every(calls.any, outOfSpace);

    expect(await errorOf(locker.tryLockAll(['a', 'b']))).toBe(spaceRefusal);

    expect([...valuesOf(memory), ...valuesOf(memory, 'b')]).toEqual([]);
  });

  test('shared calls of one tick all reject with the refusal', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.every(calls.any, outOfSpace);

    const waiting = [1, 2, 3].map(() => follow(locker.lock('a', { mode: 'shared' })));
    await memory.clock.advance(100);

    expect(waiting.map(({ error }) => error)).toEqual([spaceRefusal, spaceRefusal, spaceRefusal]);
    expect(memory.store.count(calls.gateMove)).toBe(0);
  });

  test('lock() gets the lock if etcd ran out of space just after it created the entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, runsOutOfSpace);

    const lock = await locker.lock('a');

    expect(lock.held).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ key: lock.key, createRevision: lock.fencingToken }]);
  });

  test('an aborted lock() leaves no entry if etcd ran out of space just after it created the entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const controller = new AbortController();
    memory.store.next(calls.creation, async (send, call) => {
      controller.abort();
      return runsOutOfSpace(send, call);
    });
    memory.store.every(calls.gatePut, outOfSpace);

    expect(await errorOf(locker.lock('a', { signal: controller.signal }))).toBe(controller.signal.reason);
    await memory.clock.advance(100);

    expect(valuesOf(memory)).toEqual([]);
  });

  test('an entry without a response waits for the end of the alarm, with pauses, and the session takes new entries', async () => {
    await using memory = await openFaultyMemory();
    const { b, second } = await threeInARow(memory);
    const before = memory.entries('a');
    const controller = new AbortController();
    memory.store.next(calls.creation, lostRequest);
    const disarm = memory.store.every(calls.gatePut, outOfSpace);

    const lost = follow(b.lock('other', { signal: controller.signal }));
    await memory.clock.advance(60_000);

    expect(lost.error).toBe(spaceRefusal);
    expect(memory.entries('a')).toEqual(before);
    expect(memory.store.count(calls.gateMove)).toBeGreaterThan(10);
    expect(memory.store.count(calls.gateMove)).toBeLessThan(100);
    disarm();
    await memory.clock.advance(2_000);
    const moves = memory.store.count(calls.gateMove);
    await memory.clock.advance(60_000);
    expect(memory.store.count(calls.gateMove)).toBe(moves);
    expect((await b.lock('other')).leaseId).toBe(leaseOf(memory));
    expect(second.isSettled).toBe(false);
  });

  test('a refused hand-over frees the lock, and only the caller without an entry rejects', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await one.lock('a');
    const next = follow(one.lock('a'));
    const theirs = follow(other.lock('a', { value: 'theirs' }));
    await memory.clock.settle();
    memory.store.every(calls.any, outOfSpace);

    await holder.release();
    await memory.clock.settle();

    expect(next.error).toBe(spaceRefusal);
    expect(theirs.value?.held).toBe(true);
    expect(valuesOf(memory)).toEqual(['theirs']);
  });

  test('release() that etcd refuses rejects, is repeated, and costs the session nothing', async () => {
    await using memory = await openFaultyMemory();
    const { b, second } = await threeInARow(memory);
    const lock = await b.lock('mine');
    const stop = memory.store.every(calls.deletion, () => Promise.reject(spaceRefusal));

    expect(await errorOf(lock.release())).toBe(spaceRefusal);
    await memory.clock.advance(60_000);
    expect(valuesOf(memory)).toEqual(['a', 'b', 'c']);
    stop();
    await memory.clock.advance(2_000);

    expect(valuesOf(memory, 'mine')).toEqual([]);
    expect(second.isSettled).toBe(false);
  });
});

describe('a place that is passed on while etcd is out of space', () => {
  test('goes to the next caller that needs no other value, and the callers before that reject', async () => {
    await using memory = await openFaultyMemory();
    const { holder, third } = await threeInARow(memory);
    const controller = new AbortController();
    const blocked = memory.createLocker();
    const first = follow(blocked.lock('a', { value: 'd', signal: controller.signal }));
    const heirs = [follow(blocked.lock('a', { value: 'e' })), follow(blocked.lock('a', { value: 'd' }))];
    await memory.clock.settle();
    expect(valuesOf(memory)).toEqual(['a', 'b', 'c', 'd']);
    memory.store.every(calls.any, outOfSpace);

    controller.abort();
    await memory.clock.advance(1_000);

    expect(first.error).toBe(controller.signal.reason);
    expect(heirs.map(({ error }) => error)).toEqual([spaceRefusal, undefined]);
    expect(valuesOf(memory)).toEqual(['a', 'b', 'c', 'd']);
    await holder.release();
    await memory.clock.settle();
    expect(third.isSettled).toBe(false);
  });

  test('is deleted if no caller follows, so that it blocks nobody', async () => {
    await using memory = await openFaultyMemory();
    const [a, b, c] = [memory.createLocker(), memory.createLocker(), memory.createLocker()];
    const holder = await a.lock('a', { value: 'a' });
    const controller = new AbortController();
    const first = follow(b.lock('a', { value: 'b', signal: controller.signal }));
    const heir = follow(b.lock('a', { value: 'another' }));
    await memory.clock.settle();
    const last = follow(c.lock('a', { value: 'c' }));
    await memory.clock.settle();
    memory.store.every(calls.any, outOfSpace);
    controller.abort();
    await holder.release();
    await memory.clock.advance(1_000);

    expect(first.isSettled).toBe(true);
    expect(heir.error).toBe(spaceRefusal);
    expect(last.value?.held).toBe(true);
    expect(valuesOf(memory)).toEqual(['c']);
  });
});

const leaseOf = (memory: FaultyMemory): string =>
  BigInt(`0x${/\/([0-9a-f]+)-\d+$/.exec(memory.entries('a')[1]?.key ?? '')?.[1] ?? '0'}`).toString();
