import { expect, test } from 'vitest';
import { createLocker } from '../../src/index.ts';
import { ManualClock, memoryStore } from '../../src/testing/index.ts';
import { EtcdUnavailableError } from '../../src/errors.ts';

test('Lock is kept when sessions of other TTLs are opened in quick succession', async () => {
  const clock = new ManualClock();
  await using locker = createLocker({ store: memoryStore({ clock }) });
  const lock = await locker.lock('x', { ttlMs: 2_000 });

  for (let ttlMs = 20_000; ttlMs < 60_000; ttlMs += 1_000) {
    await clock.advance(240);
    await locker.withLock('y', { ttlMs }, () => undefined);
  }

  expect(lock.held).toBe(true);
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
