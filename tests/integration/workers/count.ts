/** Increments a number in etcd that only the lock protects, and reports each hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../../src/index.ts';
import { report, settings } from './report.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const client = new Etcd3({ hosts });
await using locker = createLocker({ hosts, prefix, ttlMs });

for (let hold = 0; hold < times; hold += 1) {
  await using lock = await locker.lock(name);
  // Only one process at a time can create this key. A failure shows a second holder.
  const alone = await client.if('inside', 'Create', '==', 0).then(client.put('inside').value(lock.value)).commit();
  const before = Number(await client.get('total'));
  await sleep(Math.random() * 5);
  await client.put('total').value(before + 1);
  if (alone.succeeded) await client.delete().key('inside');
  report('hold', { token: String(lock.fencingToken), before, wasAlone: alone.succeeded, held: lock.held });
}
report('done');
client.close();
