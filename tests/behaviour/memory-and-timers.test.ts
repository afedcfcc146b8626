/** Tests of the memory and the timers of many locks. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { createLocker } from '../../src/index.ts';
import { ManualClock, memoryStore } from '../../src/testing/index.ts';

const run = promisify(execFile);
const source = fileURLToPath(new URL('../../src/', import.meta.url));

/** Runs `script` in a new process of the same Node, and parses its output. */
async function runScript(script: string): Promise<unknown> {
  const { stdout } = await run(process.execPath, ['--expose-gc', '--input-type=module-typescript', '--eval', script]);
  return JSON.parse(stdout);
}

test('a held lock takes less than 2 KiB of memory, and 10 000 locks take 10 sessions', { timeout: 60_000 }, async () => {
  const { bytes, sessions } = (await runScript(`
    import { createLocker } from '${source}index.ts';
    import { MemoryEtcd } from '${source}store/memory/memory-etcd.ts';
    import { MemoryEtcdStore } from '${source}store/memory/memory-store.ts';
    import { systemClock } from '${source}clock.ts';
    // This store keeps no keys, so that the test measures only the memory of the locker.
    class StoreWithoutKeys extends MemoryEtcdStore {
      revision = 100n;
      leases = new Set();
      async grant(id, ttl) { this.leases.add(id); return ttl; }
      async commit({ then }) { return { succeeded: true, revision: ++this.revision, ranges: then.flatMap((one) => ('range' in one ? [[]] : [])) }; }
    }
    const store = new StoreWithoutKeys(new MemoryEtcd(systemClock), systemClock);
    const locker = createLocker({ store, ttlMs: 600_000 });
    const names = Array.from({ length: 10_100 }, (_, index) => 'orders/' + index);
    for (const name of names.slice(0, 100)) await (await locker.lock(name)).release();
    gc(); gc();
    const before = process.memoryUsage().heapUsed;
    const locks = [];
    for (const name of names.slice(100)) locks.push(await locker.lock(name));
    gc(); gc();
    console.log(JSON.stringify({ bytes: (process.memoryUsage().heapUsed - before) / locks.length, sessions: store.leases.size }));
    process.exit();
  `)) as { bytes: number; sessions: number };

  expect(bytes).toBeLessThan(2_048);
  expect(sessions).toBe(10);
});

test('a watch that never began is kept neither by its locker nor by its signal', { timeout: 60_000 }, async () => {
  const kept = (await runScript(`
    import { createLocker } from '${source}index.ts';
    import { memoryStore } from '${source}testing/index.ts';
    import { getEventListeners } from 'node:events';
    const locker = createLocker({ store: memoryStore() });
    const { signal } = new AbortController();
    locker.watch('a', { signal });
    gc(); gc();
    const before = process.memoryUsage().heapUsed;
    for (let count = 0; count < 50_000; count++) { locker.watch('a', { signal }); locker.list(); }
    await new Promise(setImmediate);
    gc(); gc();
    console.log(JSON.stringify({ bytes: process.memoryUsage().heapUsed - before, listeners: getEventListeners(signal, 'abort').length }));
    process.exit();
  `)) as { bytes: number; listeners: number };

  // 1 KiB for each before.
  expect(kept.bytes).toBeLessThan(1_000_000);
  expect(kept.listeners).toBe(0);
});

test('waiters and holders have no timer of their own', async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  await using holders = createLocker({ store });
  await using waiters = createLocker({ store });
  const names = Array.from({ length: 500 }, (_, index) => `n${String(index)}`);

  await Promise.all(names.map((name) => holders.lock(name)));
  const waiting = names.map((name) => waiters.lock(name));
  await clock.settle();

  // For each of the two lockers: the timer of the lease in the store, and that of the heartbeat.
  expect(clock.timerCount).toBe(4);
  await waiters.close();
  await Promise.allSettled(waiting);
});
