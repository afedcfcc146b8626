/** Many callers on one name, turn after turn, until the process is ended; tells each turn. */
import { createLocker } from '../../../src/index.ts';
import { settings, tell } from './tell.ts';

const { hosts, prefix, ttlMs, name, times } = settings;
const locker = createLocker({ hosts, prefix, ttlMs });

await locker.withLock('warm', () => undefined);
await Promise.all(
  Array.from({ length: times }, async () => {
    for (;;) {
      const lock = await locker.lock(name);
      tell('turn', { token: String(lock.fencingToken) });
      await lock.release();
    }
  }),
);
