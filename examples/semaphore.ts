/** Limits a name to two holders at once, over all processes. */
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using one = createLocker({ hosts, value: 'one' });
await using other = createLocker({ hosts, value: 'other' });
const slots = 2; // all callers must pass the same number

const first = await one.lock('licences', { slots });
const second = await other.lock('licences', { slots });
const { holders } = await one.inspect('licences');
console.log(`in use: by ${holders.map(({ value }) => value).join(' and ')}`);
console.log(`a third: ${(await one.tryLock('licences', { slots })) === null ? 'busy' : 'held'}`);

const waiting = one.lock('licences', { slots });
await second.release();
await using third = await waiting;
console.log(`after a release: ${String(first.held && third.held)}`);
await first.release();
