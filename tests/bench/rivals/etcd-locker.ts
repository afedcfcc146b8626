/** This library, through its public API. */
import { createLocker } from '../../../src/index.ts';
import { prefix, type OpenClient } from './client.ts';

export const openLocker: OpenClient = (hosts, ttlSeconds) => {
  const locker = createLocker({ hosts: [...hosts], prefix, ttlMs: ttlSeconds * 1_000 });
  return Promise.resolve({
    lock: (name, signal) => locker.lock(name, signal === undefined ? undefined : { signal }),
    lockShared: (name) => locker.lock(name, { mode: 'shared' }),
    tryLock: (name) => locker.tryLock(name),
    inspect: (name) => locker.inspect(name),
    async watch(name, onFree) {
      const states = locker.watch(name);
      await states.next();
      const reading = (async () => {
        for await (const { held } of states) if (!held) onFree();
      })();
      return async () => {
        await states.return();
        await reading;
      };
    },
    close: () => locker.close(),
  });
};
