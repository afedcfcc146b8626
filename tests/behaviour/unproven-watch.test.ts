/** Tests of a watch that is confirmed at a revision which proves nothing, as a proxy does it. The events before it are missing. */
import { createLocker } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { webLocks } from 'etcd-locker/web-locks';
import { expect, test } from 'vitest';
import type { Store, WatchListener } from '../../src/store/store.ts';
import { follow } from '../support/fixtures/holding.ts';

/** Confirms each watch by `confirm` only, and reports no events before that. */
function openProxied() {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const listeners: WatchListener[] = [];
  const proxied: Store = {
    clock,
    grant: (...args) => store.grant(...args),
    renew: (...args) => store.renew(...args),
    leaseKeys: (...args) => store.leaseKeys(...args),
    revoke: (...args) => store.revoke(...args),
    commit: (...args) => store.commit(...args),
    watch: (_, listener) => {
      listeners.push(listener);
      return () => undefined;
    },
    close: () => store.close(),
  };
  const confirm = (revision: bigint): void => {
    for (const listener of listeners) listener.created(revision);
  };
  return { clock, store, proxied, confirm };
}

test.each([0n, 1n])('lock() looks at once when its watch is confirmed at revision %i, below that of its last look', async (revision) => {
  const { clock, store, proxied, confirm } = openProxied();
  await using holder = createLocker({ store });
  await using waiter = createLocker({ store: proxied });
  const lock = await holder.lock('a');
  const waiting = follow(waiter.lock('a'));
  await clock.settle();
  await lock.release();
  expect(waiting.isSettled).toBe(false);

  confirm(revision);
  await clock.settle();

  expect(waiting.value?.held).toBe(true);
  await waiting.value?.release();
});

test('watch() reads again when its watch is confirmed at revision 0', async () => {
  const { clock, store, proxied, confirm } = openProxied();
  await using holder = createLocker({ store });
  await using watcher = createLocker({ store: proxied });
  const lock = await holder.lock('a');
  const states = watcher.watch('a');
  expect((await states.next()).value).toMatchObject({ held: true });
  await lock.release();
  const next = follow(states.next());
  await clock.settle();
  expect(next.isSettled).toBe(false);

  confirm(0n);
  await clock.settle();

  expect(next.value?.value).toMatchObject({ held: false });
  await states.return();
});

test('a Web Lock that was broken before its watch was confirmed at revision 0 is lost at once', async () => {
  const { clock, store, proxied, confirm } = openProxied();
  await using locker = createLocker({ store: proxied });
  await using other = createLocker({ store });
  const request = follow(webLocks(locker).request('a', () => new Promise(() => undefined)));
  await clock.settle();
  await other.breakLock('a');
  expect(request.isSettled).toBe(false);

  confirm(0n);
  await clock.settle();

  expect(request.error).toMatchObject({ name: 'AbortError' });
});
