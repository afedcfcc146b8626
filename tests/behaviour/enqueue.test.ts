/** Tests of the creation of an entry when requests or responses are lost, and during an outage. */
import { createLocker, EtcdUnavailableError } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import {
  after,
  respondsAfter,
  unreachable,
  calls,
  gatesOf,
  hangs,
  appliedLater,
  lostResponse,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('an enqueue without a response', () => {
  test.each(['lock', 'tryLock'] as const)(
    '%s() sends it once more, with the new gate revision, when etcd did not apply it',
    async (member) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      memory.store.next(calls.creation, lostRequest);

      const lock = await locker[member]('a');

      expect(lock?.held).toBe(true);
      expect(memory.store.count(calls.gateMove)).toBe(1);
      const [first = 0n, second = 0n, ...more] = gatesOf(memory.store);
      expect(second).toBeGreaterThan(first);
      expect(more).toEqual([]);
      expect(memory.entries('a')).toMatchObject([{ key: lock?.key, createRevision: lock?.fencingToken }]);
    },
  );

  test.each(['lock', 'tryLock'] as const)('%s() sends it only once when etcd applied it', async (member) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.creation, lostResponse);

    const lock = await locker[member]('a');

    expect(lock?.held).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
    expect(memory.store.count(calls.creation)).toBe(1);
    expect(memory.entries('a')).toMatchObject([{ key: lock?.key, createRevision: lock?.fencingToken }]);
  });

  test('lock() never sends the same gate revision twice for one entry when ten responses in a row are lost', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.creation, ...Array.from({ length: 10 }, () => lostRequest));

    const locking = follow(memory.createLocker({ requestTimeoutMs: 60_000 }).lock('a'));
    await memory.clock.advance(10_000);

    const gates = gatesOf(memory.store);
    expect(gates).toHaveLength(11);
    expect(gates).toEqual([...new Set(gates)].sort((a, b) => Number(a - b)));
    expect(locking.value?.held).toBe(true);
  });

  test('one move of the gate settles all enqueues of the session without a response', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.every(calls.creation, respondsAfter(memory.clock, 1_000, false));
    const locks = Array.from({ length: 10 }, (_, index) => locker.lock(String(index)));

    await memory.clock.advance(1_000);

    expect((await Promise.all(locks)).every(({ held }) => held)).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
  });

  test('enqueues of the session are sent again when the gate moved before etcd applied them', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, lostRequest, after(memory.clock, 1_000));
    const [lost, delayed] = [locker.lock('a'), locker.lock('b')];

    await lost;
    await memory.clock.advance(1_000);

    expect((await delayed).held).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
    expect(memory.entries('b')).toHaveLength(1);
  });

  test.each(['lock', 'tryLock'] as const)(
    '%s() leaves no entry when etcd applies it late, after the retry was released',
    async (member) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      const duplicate = appliedLater();
      memory.store.next(calls.creation, duplicate.fault);
      const lock = await locker[member]('a');
      await lock?.release();

      await duplicate.apply();

      expect(memory.entries('a')).toEqual([]);
      expect((await locker.tryLock('a'))?.held).toBe(true);
    },
  );

  test('lock() has one entry when etcd applies it late, while the retry holds the lock', async () => {
    await using memory = await openFaultyMemory();
    const duplicate = appliedLater();
    memory.store.next(calls.creation, duplicate.fault);
    const lock = await memory.createLocker().lock('a');

    await duplicate.apply();

    expect(memory.entries('a')).toMatchObject([{ key: lock.key, createRevision: lock.fencingToken }]);
    await lock.release();
    expect(memory.entries('a')).toEqual([]);
  });

  test('lock() leaves no entry when etcd applies it late, after the call was aborted', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const duplicate = appliedLater();
    memory.store.next(calls.creation, duplicate.fault);
    memory.store.next(calls.gateMove, after(memory.clock, 1_000));
    const controller = new AbortController();
    const error = errorOf(locker.lock('a', { signal: controller.signal }));
    await memory.clock.settle();

    controller.abort();
    expect(await error).toBe(controller.signal.reason);
    await duplicate.apply();
    expect(memory.entries('a')).toHaveLength(1);
    await memory.clock.advance(3_000);
    expect(memory.entries('a')).toEqual([]);
    await duplicate.apply();

    expect(memory.entries('a')).toEqual([]);
  });

  test.each(['lock', 'tryLock'] as const)(
    '%s() deletes its entry in the background when the call was aborted meanwhile',
    async (member) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      await locker.lock('open');
      memory.store.next(calls.creation, lostResponse);
      const stopFault = memory.store.every(calls.gateMove, unreachable(memory.clock));
      const controller = new AbortController();
      const error = errorOf(locker[member]('a', { signal: controller.signal }));
      await memory.clock.settle();

      controller.abort();
      expect(await error).toBe(controller.signal.reason);
      await memory.clock.advance(20_000);
      expect(memory.entries('a')).toHaveLength(1);
      stopFault();
      await memory.clock.advance(7_000);

      expect(memory.entries('a')).toEqual([]);
    },
  );

  test('lock() serves the next local caller when the first was aborted before the response', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, after(memory.clock, 2_000, lostResponse));
    const controller = new AbortController();
    const first = errorOf(locker.lock('a', { value: 'first', signal: controller.signal }));
    const second = locker.lock('a', { value: 'second' });
    await memory.clock.advance(1_000);

    controller.abort();
    expect(await first).toBe(controller.signal.reason);
    await memory.clock.advance(1_000);
    const lock = await second;

    expect(memory.entries('a')).toMatchObject([{ key: lock.key, value: 'second', createRevision: lock.fencingToken }]);
  });
});

describe('an outage', () => {
  test.each(['lock', 'tryLock'] as const)(
    '%s() rejects with EtcdUnavailableError within requestTimeoutMs when it has no entry yet',
    async (member) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker({ requestTimeoutMs: 2_000 });
      await locker.lock('open');
      const stopFault = memory.store.every(calls.commit, unreachable(memory.clock));
      const call = follow(locker[member]('a'));

      await memory.clock.advance(2_050);

      expect(call.error).toBeInstanceOf(EtcdUnavailableError);
      expect(call.error).toMatchObject({ hosts: [{ host: '127.0.0.1:2379', reason: 'no answer' }] });
      stopFault();
      await memory.clock.advance(5_000);
      expect(memory.entries('a')).toEqual([]);
    },
  );

  test('lock() rejects within requestTimeoutMs, and leaves no entry, when etcd responds only to some requests', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 2_000 });
    await locker.lock('open');
    const duplicate = appliedLater();
    memory.store.next(calls.creation, after(memory.clock, 900, duplicate.fault));
    const stopFault = memory.store.every(calls.gateMove, unreachable(memory.clock));
    const call = follow(locker.lock('a'));

    await memory.clock.advance(2_050);
    expect(call.error).toBeInstanceOf(EtcdUnavailableError);
    await duplicate.apply();
    stopFault();
    await memory.clock.advance(6_000);

    expect(memory.entries('a')).toEqual([]);
  });

  test('lock() continues to wait during an outage of more than requestTimeoutMs when it has an entry', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 60_000 }), memory.createLocker({ ttlMs: 60_000, requestTimeoutMs: 1_000 })];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    const [, entry] = memory.entries('a');

    memory.store.every(calls.any, unreachable(memory.clock));
    memory.store.breakWatches();
    await memory.clock.advance(25_000);
    expect(waiting.isSettled).toBe(false);
    memory.store.clearFaults();
    await memory.clock.advance(6_000);
    expect(holder.held).toBe(true);
    await holder.release();
    const lock = await waiting.promise;

    expect(lock).toMatchObject({ key: entry?.key, fencingToken: entry?.createRevision, held: true });
  });

  test('lock() goes to the back of the queue when its session ended during an outage', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 600_000 }), memory.createLocker()];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a', { value: 'waits' }));
    await memory.clock.settle();
    const [, entry] = memory.entries('a');

    memory.store.every(calls.any, unreachable(memory.clock));
    await memory.clock.advance(30_000);
    memory.store.clearFaults();
    await memory.clock.advance(10_000);

    expect(waiting.isSettled).toBe(false);
    const [, moved, ...more] = memory.entries('a');
    expect(more).toEqual([]);
    expect(moved?.value).toBe('waits');
    expect(moved?.key).not.toBe(entry?.key);
    await holder.release();
    expect((await waiting.promise).fencingToken).toBe(moved?.createRevision);
  });

  test('lock() rejects with the error of etcd when etcd refuses the enqueue', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const refusal = new Error('no space');
    memory.store.next(calls.creation, refused(refusal));

    expect(await errorOf(locker.lock('a'))).toBe(refusal);
    expect((await locker.lock('a')).held).toBe(true);
  });

  test('lock() rejects at an abort when the enqueue hangs for ever', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const controller = new AbortController();
    memory.store.next(calls.creation, hangs);
    const error = errorOf(locker.lock('a', { signal: controller.signal }));
    await memory.clock.settle();

    controller.abort();

    expect(await error).toBe(controller.signal.reason);
    expect(memory.clock.isHeld).toBe(false);
  });
});

test('lock() rejects all local callers of a name after one requestTimeoutMs during an outage', async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  store.grant = () =>
    new Promise((_, reject) => {
      clock.setTimer(1_000, () => {
        reject(new EtcdUnavailableError(1_000, [{ host: 'a:1', reason: 'refused' }]));
      });
    });
  await using locker = createLocker({ store, requestTimeoutMs: 1_000 });

  const calls = Array.from({ length: 6 }, () => locker.lock('x'));
  const settled = Promise.allSettled(calls);
  await clock.advance(1_100);

  expect((await settled).map((one) => one.status === 'rejected' && (one.reason as { code?: unknown }).code)).toEqual(
    Array.from({ length: 6 }, () => 'ETCD_UNAVAILABLE'),
  );
});
