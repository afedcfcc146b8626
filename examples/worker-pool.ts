/** Renders at most two videos at a time, over all processes. Start it on any number of machines. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts });
const jobs = ['a', 'b', 'c', 'd'].map((video) => `${video}-${process.pid}`); // from the queue of your application

async function render(job: string, signal: AbortSignal): Promise<void> {
  console.log(`${new Date().toISOString()} begin ${job}`);
  await sleep(150, undefined, { signal }); // the work; the signal stops it if the slot is lost
  console.log(`${new Date().toISOString()} end ${job}`);
}

// All processes must pass the same number of slots.
await Promise.all(jobs.map((job) => locker.withLock('renderers', { slots: 2 }, ({ signal }) => render(job, signal))));

await locker.close();
