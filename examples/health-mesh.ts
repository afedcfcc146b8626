/** Each service holds its name while it is healthy, and sees the others come and go. Start it as `node health-mesh.ts NAME`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const own = `mesh/${process.argv[2] ?? 'orders'}`;
const locker = createLocker({ hosts, ttlMs: 3_000 }); // others notice a dead service after this time
const stop = new AbortController();
const { signal } = stop;
process.once('SIGTERM', () => {
  stop.abort(); // others notice this at once
});

let isHealthy = true; // stands for your health check
process.on('SIGUSR2', () => (isHealthy = !isHealthy));

async function holdName(): Promise<void> {
  while (!signal.aborted) {
    if (isHealthy) {
      await locker.lead(own, { signal }, async (lock) => {
        while (isHealthy && lock.held) await sleep(100, undefined, { signal }); // lead() campaigns again after a loss
      });
    }
    await sleep(100, undefined, { signal });
  }
}

async function watchOthers(): Promise<void> {
  const present = new Set<string>();
  for await (const { name, held, current } of locker.watch({ startsWith: 'mesh/', signal })) {
    if (name === own || !current || held === present.has(name)) continue;
    present[held ? 'add' : 'delete'](name);
    console.log(`${name} ${held ? 'is here' : 'has left'}`);
  }
}

await Promise.all([holdName(), watchOthers()]).catch((error: unknown) => {
  if (!signal.aborted) throw error;
});
await locker.close();
