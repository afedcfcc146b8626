/** What is held, and locks that end by themselves though their process lives. */
import { createLocker, type Lock, LockLostError } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using one = createLocker({ hosts, value: 'one' });
await using other = createLocker({ hosts, value: 'other' });

const limited = await one.lock('jobs/limited', { maxHoldMs: 2_000 }); // renewed, but given up after that time
const single = await one.lock('jobs/single', { renew: false, ttlMs: 3_000 }); // never renewed: the lease ends

for await (const { name, holders } of other.list({ startsWith: 'jobs/' })) console.log(`${name}: ${holders[0]?.value ?? 'nobody'}`);

const lossOf = ({ signal }: Lock): string => (signal.reason instanceof LockLostError ? signal.reason.reason : 'none');

for (const lock of [limited, single]) {
  await using next = await other.lock(lock.name);
  console.log(`${next.name}: now ${next.value}, the first lost it: ${lossOf(lock)}`);
}
