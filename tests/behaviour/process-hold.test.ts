import { describe, expect, test } from 'vitest';
import { answeredAfter, calls, openBench } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('the hold on the process', () => {
  test('an idle locker, and one that only holds, do not keep the process alive', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    expect(bench.clock.isHeld).toBe(false);

    const lock = await locker.lock('a');
    expect(bench.clock.isHeld).toBe(false);
    await bench.clock.advance(60_000);
    expect(bench.clock.isHeld).toBe(false);
    await lock.release();

    expect(bench.clock.isHeld).toBe(false);
  });

  test('a waiting lock() keeps the process alive until it has the lock', async () => {
    await using bench = await openBench();
    const holder = await bench.createLocker().lock('a');
    const waiting = follow(bench.createLocker().lock('a'));
    await bench.clock.advance(60_000);
    expect(bench.clock.isHeld).toBe(true);

    await holder.release();
    await waiting.promise;

    expect(bench.clock.isHeld).toBe(false);
  });

  test('a lock() in the local queue keeps the process alive until it gives up', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    await locker.lock('a');
    const controller = new AbortController();
    const [aborted, timedOut] = [errorOf(locker.lock('a', { signal: controller.signal })), errorOf(locker.lock('a', { timeoutMs: 5_000 }))];
    expect(bench.clock.isHeld).toBe(true);

    controller.abort();
    await aborted;
    expect(bench.clock.isHeld).toBe(true);
    await bench.clock.advance(5_000);
    await timedOut;

    expect(bench.clock.isHeld).toBe(false);
  });

  test('every request under way keeps the process alive', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const lock = await locker.lock('a');
    bench.store.every(calls.commit, answeredAfter(bench.clock, 100));
    const requests = [
      () => locker.tryLock('b'),
      () => locker.inspect('a'),
      () => lock.setValue('x'),
      () => lock.release(),
      () => locker.watch('a').next(),
      () => locker.close(),
    ];

    for (const request of requests.slice(0, 4)) {
      const answer = request();
      expect(bench.clock.isHeld).toBe(true);
      await bench.clock.advance(200);
      await answer;
      expect(bench.clock.isHeld).toBe(false);
    }
    for (const request of requests.slice(4)) {
      const answer = request();
      expect(bench.clock.isHeld).toBe(true);
      await bench.clock.advance(200);
      await answer;
    }

    expect(bench.clock.isHeld).toBe(false);
  });

  test('a timeout keeps the process alive until its error is told', async () => {
    await using bench = await openBench();
    await bench.createLocker().lock('a', { value: 'holder' });
    const error = errorOf(bench.createLocker().lock('a', { timeoutMs: 1_000 }));
    await bench.clock.settle();
    bench.store.next(calls.read, answeredAfter(bench.clock, 300));

    await bench.clock.advance(1_000);
    expect(bench.clock.isHeld).toBe(true);
    await bench.clock.advance(300);

    expect(await error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: 'holder' });
    expect(bench.clock.isHeld).toBe(false);
  });

  test('a timeout is told after half a second when nobody says who holds', async () => {
    await using bench = await openBench();
    await bench.createLocker().lock('a');
    const waiting = follow(bench.createLocker().lock('a', { timeoutMs: 1_000 }));
    await bench.clock.settle();
    bench.store.every(calls.read, answeredAfter(bench.clock, 60_000));

    await bench.clock.advance(1_500);

    expect(waiting.error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: undefined });
  });

  test('close() leaves no timer', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    await Promise.all([locker.lock('a'), locker.lock('b', { ttlMs: 30_000 }), locker.watch('a').next()]);
    const waiting = errorOf(locker.lock('a', { timeoutMs: 60_000 }));
    await bench.clock.advance(30_000);
    expect(bench.clock.timerCount).toBeGreaterThan(0);

    await locker.close();

    expect(await waiting).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(bench.clock.timerCount).toBe(0);
    expect(bench.clock.isHeld).toBe(false);
  });
});
