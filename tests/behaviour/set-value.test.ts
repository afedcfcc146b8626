/** Tests of setValue() under faults. */
import { EtcdRefusedError, LockLostError, LockReleasedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  respondsAfter,
  unreachable,
  calls,
  hangs,
  appliedLater,
  lostResponse,
  lostRequest,
  openFaultyMemory,
  refused,
  runsOutOfSpace,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { OutcomeUnknownError } from '../../src/errors.ts';

const valuesOf = (memory: Awaited<ReturnType<typeof openFaultyMemory>>) => memory.entries('a').map(({ value }) => value);

describe('setValue()', () => {
  test.each([
    ['its request is lost', lostRequest],
    ['its response is lost', lostResponse],
  ])('setValue() resolves, and the value is set, when %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    memory.store.next(calls.value, fault);

    const set = follow(lock.setValue('new'));
    await memory.clock.advance(1_000);

    expect(set).toMatchObject({ isSettled: true, error: undefined });
    expect(lock.value).toBe('new');
    expect(valuesOf(memory)).toEqual(['new']);
  });

  test('setValue() sends one write at a time, and then only the newest value', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.value, respondsAfter(memory.clock, 1_000));

    const all = Promise.all(['1', '2', '3', '4'].map((value) => lock.setValue(value)));
    await memory.clock.advance(999);
    expect(memory.store.count(calls.value)).toBe(1);
    await memory.clock.advance(1);
    await all;

    expect(memory.store.count(calls.value)).toBe(2);
    expect(valuesOf(memory)).toEqual(['4']);
  });

  test('setValue() does not retry an older value when there is a newer one', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const older = appliedLater();
    memory.store.next(calls.value, after(memory.clock, 1_000, older.fault));
    const sent: (string | undefined)[] = [];
    const first = follow(lock.setValue('older'));
    const second = follow(lock.setValue('newer'));

    await memory.clock.advance(2_000);
    for (const call of memory.store.calls.filter(calls.value)) {
      if (call.method === 'commit') sent.push(...call.transaction.then.flatMap((one) => ('put' in one ? [one.put.value] : [])));
    }
    await older.apply();

    expect(second).toMatchObject({ isSettled: true, error: undefined });
    expect(first.isSettled).toBe(true);
    expect(sent).toEqual(['older', 'newer']);
    expect(valuesOf(memory)).toEqual(['newer']);
    expect(lock.value).toBe('newer');
  });

  test('setValue() sets the newer value when etcd applies the older one just before it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const older = appliedLater();
    memory.store.next(calls.value, older.fault, after(memory.clock, 1_000));
    const all = [follow(lock.setValue('older')), follow(lock.setValue('newer'))];
    await memory.clock.advance(500);

    await older.apply();
    expect(valuesOf(memory)).toEqual(['older']);
    await memory.clock.advance(2_000);

    expect(all.map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect(valuesOf(memory)).toEqual(['newer']);
  });

  test('setValue() rejects with EtcdUnavailableError after requestTimeoutMs during an outage, and works again after it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ requestTimeoutMs: 2_000 }).lock('a');
    const stopFault = memory.store.every(calls.value, unreachable(memory.clock));
    const set = follow(lock.setValue('lost'));

    await memory.clock.advance(2_010);
    expect(set.error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts: [{ host: '127.0.0.1:2379' }] });
    stopFault();
    await lock.setValue('next');

    expect(lock.held).toBe(true);
    expect(valuesOf(memory)).toEqual(['next']);
  });

  test('setValue() rejects with the error of etcd, and keeps the value, when etcd refuses it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    const refusal = new EtcdRefusedError('no space');
    memory.store.next(calls.value, refused(refusal));

    expect(await errorOf(lock.setValue('new'))).toBe(refusal);

    expect(lock).toMatchObject({ held: true, value: 'old' });
  });

  test('setValue() rejects with the refusal at once when etcd is out of space, and keeps the value', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    const cause = new EtcdRefusedError('etcdserver: mvcc: database space exceeded');
    const clearFaults = memory.store.every(calls.value, refused(new OutcomeUnknownError([], { cause })));

    expect(await errorOf(lock.setValue('new'))).toBe(cause);

    expect(lock).toMatchObject({ held: true, value: 'old' });
    clearFaults();
    await lock.setValue('newest');
    expect(valuesOf(memory)).toEqual(['newest']);
  });

  test('setValue() resolves when etcd ran out of space just after it applied the write', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    memory.store.next(calls.value, runsOutOfSpace);

    await lock.setValue('new');

    expect(lock.value).toBe('new');
    expect(valuesOf(memory)).toEqual(['new']);
  });

  test('setValue() under way rejects with LockLostError when the lock is lost', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.any, hangs);
    const set = follow(lock.setValue('new'));

    await memory.clock.advance(14_250);

    expect(set.error).toBeInstanceOf(LockLostError);
    expect(set.error).toMatchObject({ reason: 'expired' });
    expect(memory.clock.isHeld).toBe(false);
  });

  test('setValue() under way rejects with LockReleasedError when the lock is released', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.value, hangs);
    const set = follow(lock.setValue('new'));

    await lock.release();

    expect(await errorOf(set.promise)).toBeInstanceOf(LockReleasedError);
    expect(memory.entries('a')).toEqual([]);
  });

  test('setValue() sends no request when the lock was lost or released', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lost, released] = [await locker.lock('a'), await locker.lock('b')];
    await released.release();
    memory.clock.freeze(20_000);
    const before = memory.store.calls.length;

    expect(await errorOf(lost.setValue('x'))).toBeInstanceOf(LockLostError);
    expect(await errorOf(released.setValue('x'))).toBeInstanceOf(LockReleasedError);

    // The first read ended the session, because its deadline had passed. Only its revocation is sent.
    expect(memory.store.calls.slice(before).filter((call) => !calls.revoke(call))).toEqual([]);
  });

  test('a value that etcd applies after the release creates no key', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const duplicate = appliedLater();
    memory.store.next(calls.value, duplicate.fault);
    const set = errorOf(lock.setValue('late'));
    await lock.release();

    await duplicate.apply();

    expect(memory.entries('a')).toEqual([]);
    expect(await set).toBeDefined();
  });

  test('a lock that inherits an entry gets its own value when the first writes of the value are lost', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await one.lock('a');
    const controller = new AbortController();
    const aborted = errorOf(other.lock('a', { value: 'aborted', signal: controller.signal }));
    const heir = follow(other.lock('a', { value: 'heir' }));
    await memory.clock.settle();
    memory.store.next(calls.value, lostRequest, lostResponse);

    controller.abort();
    await holder.release();
    await memory.clock.advance(3_000);

    expect(await aborted).toBe(controller.signal.reason);
    expect(heir.value).toMatchObject({ held: true, value: 'heir' });
    expect(valuesOf(memory)).toEqual(['heir']);
  });
});
