/** Holds a lock; in the scenario 'spin' without a turn of the event loop, until it notices that it was stopped for a while. */
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../../src/index.ts';
import { settings, tell } from './tell.ts';

const { hosts, prefix, ttlMs, name, scenario } = settings;
const client = new Etcd3({ hosts });
const locker = createLocker({ hosts, prefix, ttlMs });
const lock = await locker.lock(name);
// It is connected, so that what follows takes no longer than it must.
await client.put('guarded').value('nobody');
const { signal } = lock;
tell('held', { token: String(lock.fencingToken), key: lock.key });

if (scenario === 'spin') {
  for (let last = performance.now(), now = last; now - last < ttlMs; [last, now] = [now, performance.now()]);
  const [held, wasAborted] = [lock.held, signal.aborted];
  const { succeeded } = await client
    .if(...lock.guard)
    .then(client.put('guarded').value('the late one'))
    .commit();
  tell('woken', { held, wasAborted, remainingMs: lock.remainingMs, guarded: succeeded, reason: String(signal.reason) });
  await lock.release();
  await locker.close();
  client.close();
} else {
  setInterval(() => undefined, 1_000);
}
