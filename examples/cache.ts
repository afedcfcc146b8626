/** A cache in a shared folder. Any number of processes read it together, and one of them at a time fills it. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Lock } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts });
const folder = process.env['CACHE'] ?? 'cache';
const file = `${folder}/rates.json`;
const freshMs = 60_000;
const name = 'cache/rates';

type Entry = { readonly rates: number; readonly loadedAt: number };

async function read(): Promise<Entry | null> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null || !text.endsWith('}')) return null; // no file yet, or half a file that a crash has left
  const entry = JSON.parse(text) as Entry;
  return Date.now() < entry.loadedAt + freshMs ? entry : null;
}

async function fill(lock: Lock): Promise<Entry> {
  const present = await read(); // another process may have filled the cache while this one waited
  if (present !== null) return present;
  console.log('loads the rates');
  await sleep(200, undefined, { signal: lock.signal }); // for example a slow query
  const entry = { rates: Math.random(), loadedAt: Date.now() };
  await writeFile(file, JSON.stringify(entry), { signal: lock.signal });
  return entry;
}

await mkdir(folder, { recursive: true });
// Readers hold the lock together. A writer holds it alone, so no reader sees half a file.
const entry = (await locker.withLock(name, { mode: 'shared' }, read)) ?? (await locker.withLock(name, fill));
console.log(`rates: ${entry.rates}`);
await locker.close();
