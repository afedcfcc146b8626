/** Runs code written for `navigator.locks` with locks that are shared by any number of machines. */
import { createLocker } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two machines.
await using here = createLocker({ hosts });
await using there = createLocker({ hosts });
const [locks, others] = [webLocks(here), webLocks(there)];

const answer = await locks.request('settings', async (lock) => {
  console.log(`held: ${String(lock?.name)}, ${String(lock?.mode)}`);
  const { held } = await others.query();
  console.log(`the other machine sees: ${held.map(({ name }) => name).join()}`);
  return others.request('settings', { ifAvailable: true }, (second) => (second === null ? 'busy' : 'free'));
});
console.log(`a second request at the same time: ${answer}`);
console.log(`afterwards: ${await others.request('settings', { mode: 'shared' }, (lock) => lock?.mode ?? 'nothing')}`);
