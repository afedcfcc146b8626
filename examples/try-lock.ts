/** Runs a job only if no other process runs it. */
import { createLocker, type Locker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using one = createLocker({ hosts, value: 'one' });
await using other = createLocker({ hosts, value: 'other' });

async function dailyReport(locker: Locker): Promise<string> {
  await using lock = await locker.tryLock('reports/daily');
  if (lock === null) return 'skipped, another process writes it';
  await new Promise((resolve) => setTimeout(resolve, 200));
  return 'written';
}

const first = dailyReport(one);
while (!(await one.inspect('reports/daily')).held); // until the first job holds the lock
console.log(`other: ${await dailyReport(other)}`);
console.log(`one: ${await first}`);

// With timeoutMs, tryLock() waits that long before it returns null.
const held = await one.lock('reports/weekly');
const waiting = other.tryLock('reports/weekly', { timeoutMs: 10_000 });
await held.release();
await using lock = await waiting;
console.log(`other, after waiting: ${lock === null ? 'null' : 'held'}`);
