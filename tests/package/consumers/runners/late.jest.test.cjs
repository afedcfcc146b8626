// Jest, with timers that are faked before the package is loaded.
/* global expect, jest, test */

test('locks, renews and loses under fake timers', async () => {
  jest.useFakeTimers();
  const { createLocker } = require('etcd-locker');
  const { ManualClock, memoryStore } = require('etcd-locker/testing');

  // The timers and clocks of the process, which Jest moves.
  const store = memoryStore();
  const locker = createLocker({ store });
  const other = createLocker({ store });
  const lock = await locker.lock('a');
  await jest.advanceTimersByTimeAsync(20_000);
  expect([lock.held, await other.tryLock('a')]).toEqual([true, null]);
  store.goDown();
  await jest.advanceTimersByTimeAsync(20_000);
  store.goUp();
  expect(lock.held).toBe(false);
  expect((await other.tryLock('a')).held).toBe(true);

  // The synchronous call leaves a renewal no time.
  const late = await locker.lock('b');
  jest.advanceTimersByTime(20_000);
  expect(late.held).toBe(false);
  await Promise.all([locker.close(), other.close()]);

  const clock = new ManualClock();
  const manual = memoryStore({ clock });
  const third = createLocker({ store: manual });
  const kept = await third.lock('a');
  await clock.advance(60_000);
  expect(kept.held).toBe(true);
  manual.drop('a');
  await clock.advance(1_000);
  expect(kept.held).toBe(false);
  await third.close();
});
