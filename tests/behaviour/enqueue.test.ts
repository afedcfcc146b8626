import { createLocker, EtcdUnavailableError } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import {
  after,
  answeredAfter,
  away,
  calls,
  gatesOf,
  hangs,
  late,
  lostAnswer,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('an enqueue without an answer', () => {
  test.each(['lock', 'tryLock'] as const)('%s() sends it once more, with the new gate, when it was not applied', async (member) => {
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
  });

  test.each(['lock', 'tryLock'] as const)('%s() sends nothing again when it was applied', async (member) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.next(calls.creation, lostAnswer);

    const lock = await locker[member]('a');

    expect(lock?.held).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
    expect(memory.store.count(calls.creation)).toBe(1);
    expect(memory.entries('a')).toMatchObject([{ key: lock?.key, createRevision: lock?.fencingToken }]);
  });

  test('lock() never sends the same gate twice for one entry when ten answers in a row are lost', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.creation, ...Array.from({ length: 10 }, () => lostRequest));

    const lock = await memory.createLocker({ requestTimeoutMs: 60_000 }).lock('a');

    const gates = gatesOf(memory.store);
    expect(gates).toHaveLength(11);
    expect(gates).toEqual([...new Set(gates)].sort((a, b) => Number(a - b)));
    expect(lock.held).toBe(true);
  });

  test('one move of the gate settles all that were unanswered before it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.every(calls.creation, answeredAfter(memory.clock, 1_000, false));
    const locks = Array.from({ length: 10 }, (_, index) => locker.lock(String(index)));

    await memory.clock.advance(1_000);

    expect((await Promise.all(locks)).every(({ held }) => held)).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
  });

  test('others of the session go again with the new gate when it moved under them', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, lostRequest, after(memory.clock, 1_000));
    const [unanswered, delayed] = [locker.lock('a'), locker.lock('b')];

    await unanswered;
    await memory.clock.advance(1_000);

    expect((await delayed).held).toBe(true);
    expect(memory.store.count(calls.gateMove)).toBe(1);
    expect(memory.entries('b')).toHaveLength(1);
  });

  test.each(['lock', 'tryLock'] as const)('%s() leaves no ghost when it is applied late, after its retry was released', async (member) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const duplicate = late();
    memory.store.next(calls.creation, duplicate.fault);
    const lock = await locker[member]('a');
    await lock?.release();

    await duplicate.apply();

    expect(memory.entries('a')).toEqual([]);
    expect((await locker.tryLock('a'))?.held).toBe(true);
  });

  test('lock() has one entry when it is applied late, while its retry holds', async () => {
    await using memory = await openFaultyMemory();
    const duplicate = late();
    memory.store.next(calls.creation, duplicate.fault);
    const lock = await memory.createLocker().lock('a');

    await duplicate.apply();

    expect(memory.entries('a')).toMatchObject([{ key: lock.key, createRevision: lock.fencingToken }]);
    await lock.release();
    expect(memory.entries('a')).toEqual([]);
  });

  test('lock() leaves no ghost when it is applied late, after its caller gave up', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    const duplicate = late();
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

  test.each(['lock', 'tryLock'] as const)('%s() deletes its entry in the background when its caller gave up meanwhile', async (member) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, lostAnswer);
    const mend = memory.store.every(calls.gateMove, away(memory.clock));
    const controller = new AbortController();
    const error = errorOf(locker[member]('a', { signal: controller.signal }));
    await memory.clock.settle();

    controller.abort();
    expect(await error).toBe(controller.signal.reason);
    await memory.clock.advance(20_000);
    expect(memory.entries('a')).toHaveLength(1);
    mend();
    await memory.clock.advance(7_000);

    expect(memory.entries('a')).toEqual([]);
  });

  test('lock() serves the next local caller when the first gave up over an unanswered enqueue', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, after(memory.clock, 2_000, lostAnswer));
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
    '%s() rejects with EtcdUnavailableError within requestTimeoutMs when it has no place yet',
    async (member) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker({ requestTimeoutMs: 2_000 });
      await locker.lock('open');
      const mend = memory.store.every(calls.commit, away(memory.clock));
      const call = follow(locker[member]('a'));

      await memory.clock.advance(2_050);

      expect(call.error).toBeInstanceOf(EtcdUnavailableError);
      expect(call.error).toMatchObject({ hosts: [{ host: '127.0.0.1:2379', reason: 'no answer' }] });
      mend();
      await memory.clock.advance(5_000);
      expect(memory.entries('a')).toEqual([]);
    },
  );

  test('lock() rejects within requestTimeoutMs, and leaves nothing later, when half of the calls are answered', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ requestTimeoutMs: 2_000 });
    await locker.lock('open');
    const duplicate = late();
    memory.store.next(calls.creation, after(memory.clock, 900, duplicate.fault));
    const mend = memory.store.every(calls.gateMove, away(memory.clock));
    const call = follow(locker.lock('a'));

    await memory.clock.advance(2_050);
    expect(call.error).toBeInstanceOf(EtcdUnavailableError);
    await duplicate.apply();
    mend();
    await memory.clock.advance(6_000);

    expect(memory.entries('a')).toEqual([]);
  });

  test('lock() goes on waiting when etcd is away for longer than requestTimeoutMs once it has its place', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 60_000 }), memory.createLocker({ ttlMs: 60_000, requestTimeoutMs: 1_000 })];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    const [, place] = memory.entries('a');

    memory.store.every(calls.any, away(memory.clock));
    memory.store.breakWatches();
    await memory.clock.advance(25_000);
    expect(waiting.isSettled).toBe(false);
    memory.store.mend();
    await memory.clock.advance(6_000);
    expect(holder.held).toBe(true);
    await holder.release();
    const lock = await waiting.promise;

    expect(lock).toMatchObject({ key: place?.key, fencingToken: place?.createRevision, held: true });
  });

  test('lock() goes to the back of the queue when its session ended in an outage', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker({ ttlMs: 600_000 }), memory.createLocker()];
    const holder = await one.lock('a');
    const waiting = follow(other.lock('a', { value: 'waits' }));
    await memory.clock.settle();
    const [, place] = memory.entries('a');

    memory.store.every(calls.any, away(memory.clock));
    await memory.clock.advance(30_000);
    memory.store.mend();
    await memory.clock.advance(10_000);

    expect(waiting.isSettled).toBe(false);
    const [, moved, ...more] = memory.entries('a');
    expect(more).toEqual([]);
    expect(moved?.value).toBe('waits');
    expect(moved?.key).not.toBe(place?.key);
    await holder.release();
    expect((await waiting.promise).fencingToken).toBe(moved?.createRevision);
  });

  test('lock() rejects with what etcd said when it refused the enqueue', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const refusal = new Error('no space');
    memory.store.next(calls.creation, refused(refusal));

    expect(await errorOf(locker.lock('a'))).toBe(refusal);
    expect((await locker.lock('a')).held).toBe(true);
  });

  test('lock() can be aborted when the enqueue hangs for ever', async () => {
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

test('lock() rejects all local callers of a name after one requestTimeoutMs when etcd is away', async () => {
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
