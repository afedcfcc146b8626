/** Holds a lock. The scenario 'spin' blocks the event loop until the process has been stopped and continued. */
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../../src/index.ts';
import { report, settings } from './report.ts';

const { hosts, prefix, ttlMs, name, scenario } = settings;
const client = new Etcd3({ hosts });
const locker = createLocker({ hosts, prefix, ttlMs });
const lock = await locker.lock(name);
// This connects the client, so that its later commit takes little time.
await client.put('guarded').value('nobody');
const { signal } = lock;
report('held', { token: String(lock.fencingToken), key: lock.key });

if (scenario === 'spin') {
  for (let last = performance.now(), now = last; now - last < ttlMs; [last, now] = [now, performance.now()]);
  const [held, wasAborted] = [lock.held, signal.aborted];
  const { succeeded } = await client
    .if(...lock.guard)
    .then(client.put('guarded').value('the first'))
    .commit();
  report('woken', { held, wasAborted, remainingMs: lock.remainingMs, guarded: succeeded, reason: String(signal.reason) });
  await lock.release();
  await locker.close();
  client.close();
} else {
  // The handle is in use until the end of the process.
  setInterval(() => lock.name, 1_000);
}
