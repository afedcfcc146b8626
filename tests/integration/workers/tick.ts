/** A machine of a fleet: tries to run a job at each tick of its own clock, which is ahead of the true time by `skewMs`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from '../../../src/index.ts';
import { report, type Settings, settings } from './report.ts';

interface TickSettings extends Settings {
  readonly skewMs: number;
  readonly intervalMs: number;
  /** Undefined for an ordinary lock. */
  readonly minHoldMs: number | undefined;
  /** The job runs at the ticks from `first` to `last`, and takes 50 ms. */
  readonly first: number;
  readonly last: number;
  /** Whether the process ends as soon as it has run the job. */
  readonly exits: boolean;
}

const { hosts, prefix, ttlMs, name, skewMs, intervalMs, minHoldMs, first, last, exits } = settings as TickSettings;
const now = (): number => Date.now() + skewMs;
const locker = createLocker({ hosts, prefix, ttlMs });
await locker.inspect(name);
report('ready');

for (let tick = Math.max(first, Math.ceil(now() / intervalMs)); tick <= last; tick += 1) {
  await sleep(tick * intervalMs - now());
  const lock = await locker.tryLock(name, { minHoldMs });
  report(lock === null ? 'skipped' : 'ran', { tick });
  if (lock === null) continue;
  await sleep(50);
  await lock.release();
  report('released', { tick });
  if (exits) process.exit();
}
await locker.close();
report('done');
