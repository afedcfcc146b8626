/** A worker with many lockers and callers that all wait for one name. Reports the hold of each caller. */
import { createLocker } from '../../../src/index.ts';
import { report, settings, type Settings } from '../../integration/workers/report.ts';
import { nowMs } from '../hold.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const { count } = settings as Settings & { readonly count: number };
const lockers = Array.from({ length: count }, () => createLocker({ hosts, prefix, ttlMs, requestTimeoutMs: 30_000 }));

const calls = lockers.flatMap(({ lock }, locker) =>
  Array.from({ length: times }, async (_, caller) => {
    const held = await lock(name);
    const fromMs = nowMs();
    const untilMs = nowMs();
    const wasHeld = held.held;
    await held.release();
    report('hold', { locker, caller, token: String(held.fencingToken), fromMs, untilMs, wasHeld });
  }),
);
report('waiting');
await Promise.all(calls);
await Promise.all(lockers.map((locker) => locker.close()));
report('done');
