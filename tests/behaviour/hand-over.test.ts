/** Tests of the hand-over: release() and the creation of the next entry in one transaction. */
import { EtcdAuthError, EtcdRefusedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { LeaseNotFoundError } from '../../src/errors.ts';
import {
  respondsAfter,
  unreachable,
  calls,
  appliedLater,
  lostResponse,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('the hand-over', () => {
  test('release() sends one commit for its own entry and that of the next caller', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = locker.lock('a');
    const before = memory.store.calls.length;

    await first.release();
    const lock = await second;

    expect(memory.store.calls.slice(before).map(calls.handOver)).toEqual([true]);
    expect(memory.entries('a')).toMatchObject([{ key: lock.key, createRevision: lock.fencingToken }]);
  });

  test('a hundred callers in a row take one commit each', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const locks = Array.from({ length: 100 }, () => locker.lock('a'));
    await locks[0];
    const before = memory.store.calls.length;

    for (const pending of locks) await (await pending).release();

    expect(memory.store.count(calls.handOver)).toBe(99);
    expect(memory.store.calls.length - before).toBe(100);
  });

  test.each([new EtcdRefusedError('no space'), new EtcdAuthError('locks/', 'denied'), new LeaseNotFoundError('requested lease not found')])(
    'release() resolves, and the next caller enqueues by itself, when etcd refuses the hand-over with $name',
    async (refusal) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      const first = await locker.lock('a');
      const second = follow(locker.lock('a'));
      memory.store.next(calls.handOver, refused(refusal));

      expect(await errorOf(first.release())).toBeUndefined();
      await memory.clock.advance(1_000);

      expect(second.value?.held).toBe(true);
      expect(memory.entries('a')).toMatchObject([{ key: second.value?.key, createRevision: second.value?.fencingToken }]);
    },
  );

  test('release() resolves, and only the next caller rejects, when etcd also refuses the enqueue of that caller', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const [second, third] = [follow(locker.lock('a', { value: 'too much' })), follow(locker.lock('a'))];
    const refusal = new EtcdRefusedError('request is too large');
    memory.store.next(calls.creation, refused(refusal), refused(refusal));

    expect(await errorOf(first.release())).toBeUndefined();
    await memory.clock.advance(1_000);

    expect(second.error).toBe(refusal);
    expect(third.value?.held).toBe(true);
  });

  test.each([
    ['the request was lost', lostRequest],
    ['the response was lost', lostResponse],
  ])('release() resolves, and the next caller gets its lock, when %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = follow(locker.lock('a'));
    memory.store.next(calls.handOver, fault);

    expect(await errorOf(first.release())).toBeUndefined();
    await memory.clock.advance(1_000);

    expect(second.value?.held).toBe(true);
    expect(memory.entries('a')).toMatchObject([{ key: second.value?.key, createRevision: second.value?.fencingToken }]);
  });

  test('a hand-over that etcd applies late leaves no entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = locker.lock('a');
    const duplicate = appliedLater();
    memory.store.next(calls.handOver, duplicate.fault);
    await first.release();
    await (await second).release();

    await duplicate.apply();

    expect(memory.entries('a')).toEqual([]);
  });

  test('release() resolves, and leaves no entry, when the next call was aborted meanwhile', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const controller = new AbortController();
    const second = errorOf(locker.lock('a', { signal: controller.signal }));
    memory.store.next(calls.handOver, respondsAfter(memory.clock, 1_000));
    const released = follow(first.release());
    await memory.clock.advance(500);

    controller.abort();
    expect(await second).toBe(controller.signal.reason);
    await memory.clock.advance(500);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(memory.entries('a')).toEqual([]);
  });

  test('release() does not wait for the deletion of the entry of an aborted next call', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const controller = new AbortController();
    const second = errorOf(locker.lock('a', { signal: controller.signal }));
    memory.store.next(calls.handOver, respondsAfter(memory.clock, 1_000));
    memory.store.every(calls.deletion, unreachable(memory.clock));
    const released = follow(first.release());
    await memory.clock.advance(500);

    controller.abort();
    await memory.clock.advance(500);

    expect(released.isSettled).toBe(true);
    expect(memory.entries('a')).toHaveLength(1);
    expect(await second).toBe(controller.signal.reason);
  });

  test('the third caller gets the entry when the second was aborted during the hand-over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const controller = new AbortController();
    const second = errorOf(locker.lock('a', { value: 'second', signal: controller.signal }));
    const third = follow(locker.lock('a', { value: 'third' }));
    memory.store.next(calls.handOver, respondsAfter(memory.clock, 1_000));
    const released = first.release();
    await memory.clock.advance(500);

    controller.abort();
    await memory.clock.advance(600);
    await released;

    expect(await second).toBe(controller.signal.reason);
    expect(third.value).toMatchObject({ held: true, value: 'third' });
    expect(memory.entries('a')).toMatchObject([{ key: third.value?.key, value: 'third' }]);
  });

  test('release() only deletes its entry when no session has the TTL of the next caller', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = follow(locker.lock('a', { ttlMs: 30_000 }));

    await first.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.handOver)).toBe(0);
    expect(second.value?.leaseId).not.toBe(first.leaseId);
    expect(second.value?.remainingMs).toBe(27_000);
  });

  test('release() hands over to an entry in the session of the next caller when that session is open', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const long = await locker.lock('long', { ttlMs: 30_000 });
    const first = await locker.lock('a');
    const second = follow(locker.lock('a', { ttlMs: 30_000 }));

    await first.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.handOver)).toBe(1);
    expect(second.value?.leaseId).toBe(long.leaseId);
  });

  test('release() does not hand over when the session is near its deadline', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = follow(locker.lock('a'));
    memory.store.every(calls.renew, lostRequest);
    await memory.clock.advance(9_000);

    await first.release();

    expect(memory.store.count(calls.handOver)).toBe(0);
    expect(memory.entries('a').map(({ createRevision }) => createRevision)).not.toContain(first.fencingToken);
    memory.store.clearFaults();
    await memory.clock.advance(2_000);
    expect(second.value?.held).toBe(true);
  });

  test('release() hands nothing over when its entry was deleted, and the next caller enqueues', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const first = await locker.lock('a');
    const second = follow(locker.lock('a'));
    memory.etcd.commit({ compare: [], then: [{ delete: { key: first.key } }], otherwise: [] });
    const theirs = await other.lock('a');

    expect(await errorOf(first.release())).toBeUndefined();
    await memory.clock.advance(100);

    expect(second.isSettled).toBe(false);
    await theirs.release();
    await memory.clock.settle();
    expect(second.value?.held).toBe(true);
  });
});
