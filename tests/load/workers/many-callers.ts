/** Many callers in many lockers that all wait for one name; told when each of them got it, and until when it had it. */
import { createLocker } from '../../../src/index.ts';
import { settings, tell, type Settings } from '../../integration/workers/tell.ts';
import { nowMs } from '../hold.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const { count } = settings as Settings & { readonly count: number };
const lockers = Array.from({ length: count }, () => createLocker({ hosts, prefix, ttlMs, requestTimeoutMs: 30_000 }));

const turns = lockers.flatMap(({ lock }, locker) =>
  Array.from({ length: times }, async (_, caller) => {
    const held = await lock(name);
    const fromMs = nowMs();
    const untilMs = nowMs();
    const wasHeld = held.held;
    await held.release();
    tell('turn', { locker, caller, token: String(held.fencingToken), fromMs, untilMs, wasHeld });
  }),
);
tell('waiting');
await Promise.all(turns);
await Promise.all(lockers.map((locker) => locker.close()));
tell('done');
