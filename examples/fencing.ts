/** A holder that was paused for too long wakes up and writes: how its write is refused. */
import { createLocker, type Lock } from 'etcd-locker';
import { Etcd3 } from 'etcd3';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const etcd = new Etcd3({ hosts });
await using locker = createLocker({ hosts });
await using other = createLocker({ hosts });

// Data in etcd: the guard makes "only while I hold it" a part of the write itself.
async function write(lock: Lock, text: string): Promise<string> {
  const { succeeded } = await etcd
    .if(...lock.guard)
    .then(etcd.put('report').value(text))
    .commit();
  return succeeded ? 'done' : 'refused';
}

const paused = await locker.lock('report');
console.log(`the holder writes: ${await write(paused, 'by the first')}`);

// Its key goes away, as it does when a lease runs out while its process does not run.
await etcd.delete().key(paused.key);
await using next = await other.lock('report');
console.log(`the next one writes: ${await write(next, 'by the next')}`);
console.log(`the late one writes: ${await write(paused, 'by the first, again')}`);
console.log(`etcd has: ${String(await etcd.get('report').string())}`);

// Data elsewhere: the store keeps the highest token that it has seen, and refuses a smaller one.
let highest = 0n;
const isTaken = ({ fencingToken }: Lock): boolean => {
  if (fencingToken > highest) highest = fencingToken;
  return fencingToken === highest;
};
console.log(`another store takes the next: ${String(isTaken(next))}, the late one: ${String(isTaken(paused))}`);

await etcd.delete().key('report');
etcd.close();
