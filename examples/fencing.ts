/** A process is paused until its lock is lost, then it writes. The guard or the fencing token rejects this write. */
import { createLocker, type Lock } from 'etcd-locker';
import { Etcd3 } from 'etcd3'; // npm i etcd3

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const etcd = new Etcd3({ hosts });
await using locker = createLocker({ hosts });
await using other = createLocker({ hosts });

// Data in etcd: with the guard, etcd applies the write only while this process holds the lock.
async function write(lock: Lock, text: string): Promise<string> {
  const { succeeded } = await etcd
    .if(...lock.guard)
    .then(etcd.put('report').value(text))
    .commit();
  return succeeded ? 'done' : 'rejected';
}

const paused = await locker.lock('report');
console.log(`the holder writes: ${await write(paused, 'by the first')}`);

// Deletes its key, like a lease that expires while its process is paused.
await etcd.delete().key(paused.key);
await using next = await other.lock('report');
console.log(`the next holder writes: ${await write(next, 'by the next')}`);
console.log(`the paused process writes: ${await write(paused, 'by the first again')}`);
console.log(`etcd stores: ${String(await etcd.get('report').string())}`);

// Data elsewhere: the store remembers the highest token so far and rejects a smaller one.
let highest = 0n;
const accepts = ({ fencingToken }: Lock): boolean => {
  if (fencingToken > highest) highest = fencingToken;
  return fencingToken === highest;
};
console.log(`another store accepts the next holder: ${String(accepts(next))}, the paused process: ${String(accepts(paused))}`);

await etcd.delete().key('report');
etcd.close();
