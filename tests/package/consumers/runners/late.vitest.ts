// Vitest, with timers that are faked before the package is loaded.
import { createRequire } from 'node:module';
import { expect, test, vi } from 'vitest';

test.each(['import', 'require'])('locks, renews and loses under fake timers, by %s', async (how) => {
  const timers = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate'] as const;
  vi.useFakeTimers({ toFake: [...timers, 'queueMicrotask', 'Date', 'performance'] });
  const require = createRequire(import.meta.url);
  const { createLocker } = how === 'import' ? await import('etcd-locker') : require('etcd-locker');
  const { ManualClock, memoryStore } = how === 'import' ? await import('etcd-locker/testing') : require('etcd-locker/testing');

  const store = memoryStore();
  const locker = createLocker({ store });
  const other = createLocker({ store });
  const lock = await locker.lock('a');
  await vi.advanceTimersByTimeAsync(20_000);
  expect([lock.held, await other.tryLock('a')]).toEqual([true, null]);
  store.goDown();
  await vi.advanceTimersByTimeAsync(20_000);
  store.goUp();
  expect(lock.held).toBe(false);
  await Promise.all([locker.close(), other.close()]);

  const clock = new ManualClock();
  const third = createLocker({ store: memoryStore({ clock }) });
  const kept = await third.lock('a');
  await clock.advance(60_000);
  expect(kept.held).toBe(true);
  await third.close();
  vi.useRealTimers();
});
