/** Tests of the hold on the process: which calls keep it alive. */
import { describe, expect, test } from 'vitest';
import { respondsAfter, calls, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

describe('the hold on the process', () => {
  test('an idle locker and a held lock do not keep the process alive', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    expect(memory.clock.isHeld).toBe(false);

    const lock = await locker.lock('a');
    expect(memory.clock.isHeld).toBe(false);
    await memory.clock.advance(60_000);
    expect(memory.clock.isHeld).toBe(false);
    await lock.release();

    expect(memory.clock.isHeld).toBe(false);
  });

  test('a waiting lock() keeps the process alive until it gets the lock', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const waiting = follow(memory.createLocker().lock('a'));
    await memory.clock.advance(60_000);
    expect(memory.clock.isHeld).toBe(true);

    await holder.release();
    await waiting.promise;

    expect(memory.clock.isHeld).toBe(false);
  });

  test('a lock() in the local queue keeps the process alive until it is aborted or times out', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a');
    const controller = new AbortController();
    const [aborted, timedOut] = [errorOf(locker.lock('a', { signal: controller.signal })), errorOf(locker.lock('a', { timeoutMs: 5_000 }))];
    expect(memory.clock.isHeld).toBe(true);

    controller.abort();
    await aborted;
    expect(memory.clock.isHeld).toBe(true);
    await memory.clock.advance(5_000);
    await timedOut;

    expect(memory.clock.isHeld).toBe(false);
  });

  test('each call keeps the process alive until its response', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.commit, respondsAfter(memory.clock, 100));
    const requests = [
      () => locker.tryLock('b'),
      () => locker.inspect('a'),
      () => lock.setValue('x'),
      () => lock.release(),
      () => locker.watch('a').next(),
      () => locker.close(),
    ];

    for (const request of requests.slice(0, 4)) {
      const call = request();
      expect(memory.clock.isHeld).toBe(true);
      await memory.clock.advance(200);
      await call;
      expect(memory.clock.isHeld).toBe(false);
    }
    for (const request of requests.slice(4)) {
      const call = request();
      expect(memory.clock.isHeld).toBe(true);
      await memory.clock.advance(200);
      await call;
    }

    expect(memory.clock.isHeld).toBe(false);
  });

  test('lock() keeps the process alive after its timeout until it rejects', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a', { value: 'holder' });
    memory.store.next(calls.read, respondsAfter(memory.clock, 90));
    const error = errorOf(memory.createLocker().lock('a', { timeoutMs: 0 }));

    await memory.clock.advance(89);
    expect(memory.clock.isHeld).toBe(true);
    await memory.clock.advance(1);

    expect(await error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: 'holder' });
    expect(memory.clock.isHeld).toBe(false);
  });

  test('withLock() and lead() keep the process alive while their function runs', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    for (const method of ['withLock', 'lead'] as const) {
      const running = locker[method]('a', () => new Promise<void>((resolve) => memory.clock.setTimer(60_000, resolve)));
      await memory.clock.advance(59_000);
      expect(memory.clock.isHeld).toBe(true);

      await memory.clock.advance(1_000);
      await running;

      expect(memory.clock.isHeld).toBe(false);
    }
  });

  test('close() leaves no timer', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await Promise.all([locker.lock('a'), locker.lock('b', { ttlMs: 30_000 }), locker.watch('a').next()]);
    const waiting = errorOf(locker.lock('a', { timeoutMs: 60_000 }));
    await memory.clock.advance(30_000);
    expect(memory.clock.timerCount).toBeGreaterThan(0);

    await locker.close();

    expect(await waiting).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(memory.clock.timerCount).toBe(0);
    expect(memory.clock.isHeld).toBe(false);
  });
});
