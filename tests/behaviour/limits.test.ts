import { describe, expect, test } from 'vitest';
import { EtcdAuthError } from '../../src/errors.ts';
import { after, calls, openBench, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('maxHoldMs', () => {
  test('hands over to the next call of the process in one commit, having told the holder', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const first = await locker.lock('a', { maxHoldMs: 1_000 });
    const second = follow(locker.lock('a'));
    const before = bench.store.calls.length;
    let wasTold = false;
    bench.store.next(calls.handOver, (send) => {
      wasTold = !first.held;
      return send();
    });

    await bench.clock.advance(1_000);

    expect(wasTold).toBe(true);
    expect(first.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(second.value?.held).toBe(true);
    expect(bench.store.calls.slice(before).map(calls.handOver)).toEqual([true]);
  });

  test('is over as soon as somebody reads it, where the timer is late', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const [read, watched, woken] = await Promise.all(['a', 'b', 'c'].map((name) => locker.lock(name, { maxHoldMs: 1_000 })));

    bench.clock.freeze(1_000);

    expect(read?.held).toBe(false);
    expect(watched?.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(() => woken?.throwIfLost()).toThrow(/max-hold|longer/);
    await bench.clock.settle();
    expect(['a', 'b', 'c'].flatMap((name) => bench.entries(name))).toEqual([]);
  });

  test('counts by the wall clock too, as a machine may sleep', async () => {
    await using bench = await openBench();
    const lock = await bench.createLocker().lock('a', { maxHoldMs: 5_000 });

    bench.clock.jumpWall(5_000);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
  });

  test('release() in the listener of its signal gives nothing back a second time', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    const next = [follow(locker.lock('a')), follow(locker.lock('a'))] as const;
    lock.signal.addEventListener('abort', () => void lock.release());

    await bench.clock.advance(100);

    expect(next.map(({ isSettled }) => isSettled)).toEqual([true, false]);
    expect(next[0].value?.held).toBe(true);
  });

  test('leaves the lock that was released in time alone', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    bench.store.every(calls.deletion, after(bench.clock, 500));
    const released = follow(lock.release());

    await bench.clock.advance(600);

    expect(released).toMatchObject({ isSettled: true, error: undefined });
    expect(lock.signal.aborted).toBe(false);
    expect(bench.store.count(calls.deletion)).toBe(1);
  });

  test('a refused deletion is nobody’s rejection, and the lease ends it', async () => {
    await using bench = await openBench();
    const [locker, other] = [bench.createLocker(), bench.createLocker()];
    const lock = await locker.lock('a', { maxHoldMs: 100 });
    const next = follow(other.lock('a'));
    const stop = bench.store.every(calls.deletion, refused(new EtcdAuthError('locks/', 'denied')));

    await bench.clock.advance(200);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
    expect(next.isSettled).toBe(false);
    await bench.clock.advance(20_000);
    stop();

    expect(next.value?.held).toBe(true);
  });
});

describe('renew: false', () => {
  test('is not renewed once it is held, and its time is no longer than the TTL from the last renewal', async () => {
    await using bench = await openBench();
    const lock = await bench.createLocker().lock('a', { renew: false });
    const before = bench.store.count(calls.renew);

    await bench.clock.advance(13_400);
    expect(lock.held).toBe(true);
    await bench.clock.advance(200);

    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
    expect(bench.store.count(calls.renew)).toBe(before);
    expect(bench.entries('a')).toEqual([]);
  });

  test('is renewed on acquiring, and not given out by what was known before', async () => {
    await using bench = await openBench();
    const [locker, other] = [bench.createLocker(), bench.createLocker()];
    const holder = await other.lock('a');
    const waiting = follow(locker.lock('a', { renew: false }));
    await bench.clock.advance(3_500);
    const before = bench.store.count(calls.renew);

    await holder.release();
    await bench.clock.settle();

    expect(bench.store.count(calls.renew)).toBe(before + 1);
    expect(waiting.value?.remainingMs).toBe(13_500);
  });

  test('is over, and not given out, when the process was frozen on the way', async () => {
    await using bench = await openBench();
    const [locker, other] = [bench.createLocker(), bench.createLocker()];
    const holder = await other.lock('a');
    const waiting = follow(locker.lock('a', { renew: false, value: 'frozen' }));
    await bench.clock.advance(100);
    bench.store.next(calls.renew, after(bench.clock, 0));
    bench.clock.freeze(4_000);
    await holder.release();
    bench.clock.freeze(60_000);

    await bench.clock.advance(1_000);

    // It went to the back of the queue with a new lease of its own.
    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.remainingMs).toBeGreaterThan(12_000);
    expect(await errorOf(waiting.promise)).toBeUndefined();
  });
});
