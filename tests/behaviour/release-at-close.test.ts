/** A release that is under way when its session ends resolves once etcd certainly no longer has the entry. */
import { describe, expect, test } from 'vitest';
import { answeredAfter, calls, hangs, openBench } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

describe('release() under way at close()', () => {
  test('resolves once etcd has confirmed the end of the lease', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a');
    bench.store.every(calls.deletion, hangs);
    bench.store.next(calls.revoke, answeredAfter(bench.clock, 2_000));
    const released = follow(lock.release());

    const closed = locker.close();
    await bench.clock.advance(1_999);
    expect(released.isSettled).toBe(false);
    await bench.clock.advance(1);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await closed;
  });

  test('resolves once its delete is confirmed, if that comes first', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a');
    bench.store.every(calls.revoke, hangs);
    const released = follow(lock.release());

    const closed = locker.close();
    await bench.clock.settle();

    expect(bench.entries('a')).toEqual([]);
    expect(released).toMatchObject({ isSettled: true, error: undefined });
    await bench.clock.advance(5_000);
    await closed;
  });

  test('resolves at the end of the lease when etcd does not respond', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a');
    bench.store.every(calls.any, hangs);
    const released = follow(lock.release());

    const closed = follow(locker.close());
    await bench.clock.advance(5_000);
    expect(closed.isSettled).toBe(true);
    await bench.clock.advance(9_999);
    expect(released.isSettled).toBe(false);
    await bench.clock.advance(1);

    expect(released.isSettled).toBe(true);
  });
});
