/** A service with one leader. Each process knows the address of the leader, and each term has a number that rises. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const address = process.env['ADDRESS'] ?? 'http://127.0.0.1:8080';
const locker = createLocker({ hosts, value: address, ttlMs: Number(process.env['TTL_MS'] ?? 15_000) });

const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort(); // ends a campaign, and stops the leader
  void locker.close({ drainMs: 10_000 }); // the leader has so long to finish
});

async function runAsLeader(term: bigint, signal: AbortSignal): Promise<void> {
  console.log(`term ${term} begins`);
  // Send the term with each write, so that the storage can refuse a write of an earlier leader.
  while (!signal.aborted) await sleep(100, undefined, { signal }).catch(() => undefined);
  console.log(`term ${term} ends`);
}

async function followLeader(): Promise<void> {
  for await (const { holders, current } of locker.watch('scheduler')) {
    console.log(`leader: ${current ? (holders[0]?.value ?? 'none') : 'unknown'}`);
  }
}

const following = followLeader();
try {
  // It returns after SIGTERM alone. After a loss the next campaign begins.
  await locker.lead('scheduler', { signal: stop.signal }, (lock) =>
    runAsLeader(lock.fencingToken, AbortSignal.any([lock.signal, stop.signal])),
  );
} catch (error) {
  if (!stop.signal.aborted) throw error; // for example wrong credentials
}
await following;
