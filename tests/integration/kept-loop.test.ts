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
  test.each(['withLock()', 'lock()', 'tryLock()', 'two callers'])('lets timers run: %s', async (how) => {
    const locker = await keep(how);
    let isOver = false;
    setTimeout(() => (isOver = true), 20);
    const once = async (): Promise<void> => {
      if (how === 'lock()') await (await locker.lock(how)).release();
      else if (how === 'tryLock()') await (await locker.tryLock(how))?.release();
      else await locker.withLock(how, () => undefined);
    };
    const loop = (): Promise<number> => loopUntil(() => isOver, once);

    const [ms] = await Promise.all(how === 'two callers' ? [loop(), loop()] : [loop()]);

    expect(ms).toBeLessThan(2_000);
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
