/**
 * A frozen process cannot overwrite the data of its successor: `lock.guard` makes etcd reject its write.
 *
 * Start it twice. Freeze the holder for longer than the TTL with `kill -STOP PID`, then wake it with `kill -CONT PID`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';
import { Etcd3 } from 'etcd3'; // npm i etcd3

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts, ttlMs: 3_000 });
const etcd = new Etcd3({ hosts });

const lock = await locker.lock('report');
for (let page = 1; page <= 10; page++) {
  await sleep(200); // The work. This program does not look at lock.signal, so only etcd protects the data.
  const { succeeded } = await etcd
    .if(...lock.guard)
    .then(etcd.put('report').value(`page ${page} by ${process.pid}`))
    .commit();
  console.log(succeeded ? `wrote page ${page}` : `rejected page ${page}: another process holds the lock`);
  if (!succeeded) break;
}
await locker.close();
etcd.close();
