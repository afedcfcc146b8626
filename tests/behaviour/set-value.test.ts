import { EtcdRefusedError, LockLostError, LockReleasedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  answeredAfter,
  away,
  calls,
  hangs,
  late,
  lostAnswer,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const valuesOf = (memory: Awaited<ReturnType<typeof openFaultyMemory>>) => memory.entries('a').map(({ value }) => value);

describe('setValue()', () => {
  test.each([
    ['its request was lost', lostRequest],
    ['its answer was lost', lostAnswer],
  ])('setValue() is done once more or found when %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    memory.store.next(calls.value, fault);

    const set = follow(lock.setValue('new'));
    await memory.clock.advance(1_000);

    expect(set).toMatchObject({ isSettled: true, error: undefined });
    expect(lock.value).toBe('new');
    expect(valuesOf(memory)).toEqual(['new']);
  });

  test('setValue() sends one write at a time, and of those that came meanwhile only the newest', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.value, answeredAfter(memory.clock, 1_000));

    const all = Promise.all(['1', '2', '3', '4'].map((value) => lock.setValue(value)));
    await memory.clock.advance(999);
    expect(memory.store.count(calls.value)).toBe(1);
    await memory.clock.advance(1);
    await all;

    expect(memory.store.count(calls.value)).toBe(2);
    expect(valuesOf(memory)).toEqual(['4']);
  });

  test('setValue() does not send an unanswered value again when a newer one came', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const older = late();
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

  test('setValue() ends with the newer value when the older one is applied just before it', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const older = late();
    memory.store.next(calls.value, older.fault, after(memory.clock, 1_000));
    const all = [follow(lock.setValue('older')), follow(lock.setValue('newer'))];
    await memory.clock.advance(500);

    await older.apply();
    expect(valuesOf(memory)).toEqual(['older']);
    await memory.clock.advance(2_000);

    expect(all.map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect(valuesOf(memory)).toEqual(['newer']);
  });

  test('setValue() rejects with EtcdUnavailableError after requestTimeoutMs when nobody answers, and the next one works', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ requestTimeoutMs: 2_000 }).lock('a');
    const mend = memory.store.every(calls.value, away(memory.clock));
    const set = follow(lock.setValue('lost'));

    await memory.clock.advance(2_010);
    expect(set.error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts: [{ host: '127.0.0.1:2379' }] });
    mend();
    await lock.setValue('next');

    expect(lock.held).toBe(true);
    expect(valuesOf(memory)).toEqual(['next']);
  });

  test('setValue() rejects with what etcd said when it was refused, and the value stays', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    const refusal = new EtcdRefusedError('no space');
    memory.store.next(calls.value, refused(refusal));

    expect(await errorOf(lock.setValue('new'))).toBe(refusal);

    expect(lock).toMatchObject({ held: true, value: 'old' });
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

  test('setValue() asks for nothing when the lock was lost or released', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lost, released] = [await locker.lock('a'), await locker.lock('b')];
    await released.release();
    memory.clock.freeze(20_000);
    const before = memory.store.calls.length;

    expect(await errorOf(lost.setValue('x'))).toBeInstanceOf(LockLostError);
    expect(await errorOf(released.setValue('x'))).toBeInstanceOf(LockReleasedError);

    // What is sent is the end of the session, whose deadline the first read has found passed.
    expect(memory.store.calls.slice(before).filter((call) => !calls.revoke(call))).toEqual([]);
  });

  test('a value that is applied after the release makes no key', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const duplicate = late();
    memory.store.next(calls.value, duplicate.fault);
    const set = errorOf(lock.setValue('late'));
    await lock.release();

    await duplicate.apply();

    expect(memory.entries('a')).toEqual([]);
    expect(await set).toBeDefined();
  });

  test('a lock given to an heir bears the value of the heir when the write of it was lost at first', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [memory.createLocker(), memory.createLocker()];
    const holder = await one.lock('a');
    const controller = new AbortController();
    const quits = errorOf(other.lock('a', { value: 'quits', signal: controller.signal }));
    const heir = follow(other.lock('a', { value: 'heir' }));
    await memory.clock.settle();
    memory.store.next(calls.value, lostRequest, lostAnswer);

    controller.abort();
    await holder.release();
    await memory.clock.advance(3_000);

    expect(await quits).toBe(controller.signal.reason);
    expect(heir.value).toMatchObject({ held: true, value: 'heir' });
    expect(valuesOf(memory)).toEqual(['heir']);
  });
});
