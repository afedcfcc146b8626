/** Runs a job once per tick in a fleet. Three machines, whose clocks differ, try at each tick, and one of them runs the job. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Lock, type Locker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const intervalMs = 3_000;

/** Runs `job` unless another machine has run it in the last `minHoldMs`. Returns whether this machine ran it. */
async function withTick(locker: Locker, name: string, minHoldMs: number, job: (lock: Lock) => Promise<void>): Promise<boolean> {
  // The name stays taken for minHoldMs, although the job ends sooner: a machine whose clock is late finds it taken.
  await using lock = await locker.tryLock(name, { minHoldMs });
  if (lock === null) return false;
  await job(lock);
  lock.throwIfLost();
  return true;
}

/** A machine of the fleet: tries at three ticks of its own clock, which is late by `lateMs`. */
async function runMachine(lateMs: number, first: number, runs: number[]): Promise<void> {
  await using locker = createLocker({ hosts, value: `machine ${String(lateMs)} ms late` });
  await locker.inspect('reports'); // connects before the first tick
  for (const tick of [first, first + 1, first + 2]) {
    await sleep(tick * intervalMs + lateMs - Date.now());
    await withTick(locker, 'reports', 1_000, async () => {
      runs[tick - first] = (runs[tick - first] ?? 0) + 1;
      await sleep(50);
    });
  }
}

const runs: number[] = [];
const first = Math.ceil(Date.now() / intervalMs) + 1;
await Promise.all([0, 150, 300].map((lateMs) => runMachine(lateMs, first, runs)));
for (const [tick, count] of runs.entries()) console.log(`tick ${String(tick + 1)}: ${String(count)} of 3 machines ran the job`);
