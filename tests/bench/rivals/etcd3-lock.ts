/** The Lock of etcd3. It cannot wait: if the name is taken, it is tried again after a short random pause. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3, EtcdLockFailedError, type Lock } from 'etcd3';
import { prefix, type OpenClient } from './client.ts';

/** A uniform random pause of 1 to 10 ms. */
const pauseMs = (): number => 1 + 9 * Math.random();

export const openEtcd3Lock: OpenClient = (hosts, ttlSeconds) => {
  const client = new Etcd3({ hosts: [...hosts] });

  const tryLock = async (name: string): Promise<Lock | null> => {
    try {
      return await client
        .lock(prefix + name)
        .ttl(ttlSeconds)
        .acquire();
    } catch (error) {
      if (error instanceof EtcdLockFailedError) return null;
      throw error;
    }
  };

  return Promise.resolve({
    async lock(name, signal) {
      for (;;) {
        const lock = await tryLock(name);
        if (lock !== null) return lock;
        await sleep(pauseMs(), undefined, signal === undefined ? {} : { signal });
      }
    },
    tryLock,
    async watch(name, onFree) {
      const watcher = await client
        .watch()
        .key(prefix + name)
        .create();
      watcher.on('delete', onFree);
      return () => watcher.cancel();
    },
    close() {
      client.close();
      return Promise.resolve();
    },
  });
};
