/**
 * Finds services by name. A service holds its name with its address as the value. Clients follow the address.
 *
 * `node name-server.ts mail http://10.0.0.7:8080` offers a service, `node name-server.ts mail` follows it.
 */
import { once } from 'node:events';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const [name = 'mail', address] = process.argv.slice(2);
const locker = createLocker({ hosts, ttlMs: 3_000 }); // the address of a dead service is gone after this time
const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort();
});

/** Holds the name until SIGTERM. A second service of the name waits, and takes over when the first one ends. */
async function offer(service: string, value: string): Promise<void> {
  await locker.lead(`services/${service}`, { value, signal: stop.signal }, async (lock) => {
    const end = AbortSignal.any([stop.signal, lock.signal]); // after a loss, lead() campaigns again
    if (!end.aborted) await once(end, 'abort');
  });
}

async function follow(service: string): Promise<void> {
  for await (const { holders, current } of locker.watch(`services/${service}`, { signal: stop.signal })) {
    console.log(current ? `${service}: ${holders[0]?.value ?? 'nowhere'}` : 'etcd is silent, the address may be old');
  }
}

await (address === undefined ? follow(name) : offer(name, address)).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error;
});
await locker.close();
