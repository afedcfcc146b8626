/** Lists held locks, and takes locks that end by themselves while their process lives on. */
import { createLocker, type Lock, LockLostError } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using one = createLocker({ hosts, value: 'one' });
await using other = createLocker({ hosts, value: 'other' });

const limited = await one.lock('jobs/limited', { maxHoldMs: 2_000 }); // renewed, but ends after this time
const single = await one.lock('jobs/single', { renew: false, ttlMs: 3_000 }); // never renewed: the lease expires

for await (const { name, holders } of other.list({ startsWith: 'jobs/' })) console.log(`${name}: ${holders[0]?.value ?? 'free'}`);

const lossOf = ({ signal }: Lock): string => (signal.reason instanceof LockLostError ? signal.reason.reason : 'none');

for (const lock of [limited, single]) {
  await using next = await other.lock(lock.name);
  console.log(`${next.name}: now held by ${next.value}, lost by one: ${lossOf(lock)}`);
}
