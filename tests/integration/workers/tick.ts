/** A machine of a fleet: tries to run a job at each tick of its own clock, which is ahead of the true time by `skewMs`. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from '../../../src/index.ts';
import { report, type Settings, settings } from './report.ts';

interface TickSettings extends Settings {
  readonly skewMs: number;
  readonly intervalMs: number;
  /** Undefined for an ordinary lock. */
  readonly minHoldMs: number | undefined;
  /** The number of ticks. The first one comes as a line on stdin. The job takes 50 ms. */
  readonly count: number;
  /** Whether the process ends as soon as it has run the job. */
  readonly exits: boolean;
}

const { hosts, prefix, ttlMs, requestTimeoutMs, name, skewMs, intervalMs, minHoldMs, count, exits } = settings as TickSettings;
const now = (): number => Date.now() + skewMs;
const locker = createLocker({ hosts, prefix, ttlMs, requestTimeoutMs });
await locker.inspect(name);
const firstLine = once(process.stdin, 'data') as Promise<[Buffer]>;
report('ready');
const first = Number(String(await firstLine));
process.stdin.destroy();

for (let tick = Math.max(first, Math.ceil(now() / intervalMs)); tick < first + count; tick += 1) {
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
