// node:test, with timers that are mocked before the package is loaded.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mock, test } from 'node:test';

const require = createRequire(import.meta.url);

for (const how of ['import', 'require']) {
  test(`locks, renews and loses under mocked timers, by ${how}`, async () => {
    const turn = (await import('node:timers/promises')).setImmediate;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
    const { createLocker } = how === 'import' ? await import('etcd-locker') : require('etcd-locker');
    const { memoryStore } = how === 'import' ? await import('etcd-locker/testing') : require('etcd-locker/testing');
    const pass = async (seconds) => {
      for (let count = 0; count < seconds; count += 1) {
        mock.timers.tick(1_000);
        await turn();
      }
    };

    const store = memoryStore();
    const locker = createLocker({ store });
    const other = createLocker({ store });
    const lock = await locker.lock('a');
    await pass(20);
    assert.deepEqual([lock.held, await other.tryLock('a')], [true, null]);
    store.goDown();
    await pass(20);
    store.goUp();
    assert.equal(lock.held, false);
    assert.equal((await other.tryLock('a'))?.held, true);
    await Promise.all([locker.close(), other.close()]);
    mock.timers.reset();
  });

  test(`ManualClock works with setImmediate mocked before it is loaded, by ${how}`, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });
    const { createLocker } = how === 'import' ? await import('etcd-locker') : require('etcd-locker');
    const { ManualClock, memoryStore } = how === 'import' ? await import('etcd-locker/testing') : require('etcd-locker/testing');

    const clock = new ManualClock();
    const locker = createLocker({ store: memoryStore({ clock }) });
    const lock = await locker.lock('a');
    await clock.advance(60_000);
    assert.equal(lock.held, true);
    await locker.close();
    mock.timers.reset();
  });
}
