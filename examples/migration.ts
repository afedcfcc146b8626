/** Migrates the database once per deploy. All replicas start it at the same time, and go on when the schema is up to date. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Lock, LockTimeoutError } from 'etcd-locker';
import { Etcd3 } from 'etcd3'; // npm i etcd3

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts, ttlMs: 3_000 }); // a replica that crashes blocks the others for this time
const etcd = new Etcd3({ hosts });
const steps = ['create the table', 'copy the rows', 'add the index']; // each step may run twice, after a crash
const timeoutMs = Number(process.env['MIGRATION_TIMEOUT_MS'] ?? 300_000); // the longest migration

async function migrate(lock: Lock): Promise<void> {
  const done = Number((await etcd.get('schema-version').string()) ?? 0);
  for (const [index, step] of [...steps.entries()].slice(done)) {
    console.log(`begin: ${step}`);
    await sleep(500, undefined, { signal: lock.signal }); // the work; the signal stops it if the lock is lost
    // The marker. The guard rejects it if another replica has taken over.
    const marker = etcd.put('schema-version').value(index + 1);
    const { succeeded } = await etcd.if(...lock.guard).then(marker).commit(); // prettier-ignore
    if (!succeeded) throw new Error(`Cannot finish "${step}": another replica has taken over`);
    console.log(`done: ${step}`);
  }
}

try {
  await locker.withLock('migration', { timeoutMs }, migrate);
  console.log('the schema is up to date');
} catch (error) {
  if (!(error instanceof LockTimeoutError)) throw error;
  console.log(`gave up: ${error.holder ?? 'another replica'} still migrates`);
  process.exitCode = 75; // EX_TEMPFAIL: start this replica again later
} finally {
  await locker.close();
  etcd.close();
}
