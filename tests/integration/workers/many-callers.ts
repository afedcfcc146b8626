/** Locks and releases one name with many callers until the process is killed, and reports each hold. */
import { createLocker } from '../../../src/index.ts';
import { report, settings } from './report.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const locker = createLocker({ hosts, prefix, ttlMs });

await locker.withLock('warm', () => undefined);
await Promise.all(
  Array.from({ length: times }, async () => {
    for (;;) {
      const lock = await locker.lock(name);
      report('hold', { token: String(lock.fencingToken) });
      await lock.release();
    }
  }),
);
