/** Tests that a loop over a kept lock, which never waits for etcd, leaves the event loop to others. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locker } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

/** A locker that keeps the lock on `name`, with a confirmed watch. */
async function keep(name: string): Promise<Locker> {
  const locker = stage.createLocker({ keepMs: 60_000 });
  await locker.withLock(name, () => undefined);
  await sleep(300);
  return locker;
}

/** Takes the lock again and again until `isOver`, for at most 5 s. Returns how long that took. */
async function loopUntil(isOver: () => boolean, useLock: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  while (!isOver() && performance.now() - startedAt < 5_000) await useLock();
  return performance.now() - startedAt;
}

describe('a loop over a kept lock', () => {
  test.each(['withLock()', 'lock()', 'tryLock()', 'two callers', 'lock() alone', 'tryLock() alone', 'two of lock() alone'])(
    'lets timers run: %s',
    async (how) => {
      const locker = await keep(how);
      let isOver = false;
      setTimeout(() => (isOver = true), 20);
      const once = async (): Promise<void> => {
        if (how === 'lock()') await (await locker.lock(how)).release();
        // Nobody has to await a release.
        else if (how.endsWith('lock() alone')) void (await locker.lock(how)).release();
        else if (how === 'tryLock() alone') void (await locker.tryLock(how))?.release();
        else if (how === 'tryLock()') await (await locker.tryLock(how))?.release();
        else await locker.withLock(how, () => undefined);
      };
      const loop = (): Promise<number> => loopUntil(() => isOver, once);

      const [ms] = await Promise.all(how.startsWith('two') ? [loop(), loop()] : [loop()]);

      expect(ms).toBeLessThan(2_000);
    },
  );

  test('lets timers run beside hundreds of other loops', async () => {
    const locker = await keep('name-0');
    const names = Array.from({ length: 300 }, (_, n) => `name-${String(n)}`);
    await Promise.all(names.map((name) => locker.withLock(name, () => undefined)));
    let isOver = false;
    setTimeout(() => (isOver = true), 20);

    const times = await Promise.all(
      names.map((name) =>
        loopUntil(
          () => isOver,
          () => locker.withLock(name, () => undefined),
        ),
      ),
    );

    // All of them wait for the same turn. One after another they would need 10 ms each.
    expect(Math.max(...times)).toBeLessThan(1_500);
  });

  test('lets another process in', async () => {
    const locker = await keep('x');
    const waiting = follow(stage.createLocker().withLock('x', () => 'held'));

    const ms = await loopUntil(
      () => waiting.isSettled,
      () => locker.withLock('x', () => undefined),
    );

    expect(waiting.value).toBe('held');
    expect(ms).toBeLessThan(2_500);
  });
});
