/** Adds to a number in etcd that nothing but the lock protects, and tells each turn as etcd shows it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../../src/index.ts';
import { settings, tell } from './tell.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const client = new Etcd3({ hosts });
await using locker = createLocker({ hosts, prefix, ttlMs });

for (let turn = 0; turn < times; turn += 1) {
  await using lock = await locker.lock(name);
  // A key that only one can have made shows whether somebody else is inside.
  const alone = await client.if('inside', 'Create', '==', 0).then(client.put('inside').value(lock.value)).commit();
  const before = Number(await client.get('total'));
  await sleep(Math.random() * 5);
  await client.put('total').value(before + 1);
  if (alone.succeeded) await client.delete().key('inside');
  tell('turn', { token: String(lock.fencingToken), before, wasAlone: alone.succeeded, held: lock.held });
}
tell('done');
client.close();
