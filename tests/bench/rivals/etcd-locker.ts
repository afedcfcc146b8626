/** This library, through its public API, from this tree or from an older one. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { LockerOptions, createLocker } from '../../../src/index.ts';
import { prefix, type OpenClient } from './client.ts';

type CreateLocker = typeof createLocker;

/** Longer than a round, so that only another process ends the keeping. */
const keepMs = 60_000;

export const openLocker = async (): Promise<OpenClient> => openWith((await import('../../../src/index.ts')).createLocker);

export const openKeepingLocker = async (): Promise<OpenClient> =>
  openWith((await import('../../../src/index.ts')).createLocker, { keepMs });

/** @param root the folder of another checkout, with its node_modules */
export async function openLockerOf(root: string | undefined): Promise<OpenClient> {
  if (root === undefined) throw new Error('Cannot measure the tree before: its folder is missing');
  const entry = pathToFileURL(join(root, 'src', 'index.ts')).href;
  return openWith(((await import(entry)) as { createLocker: CreateLocker }).createLocker);
}

function openWith(create: CreateLocker, options: LockerOptions = {}): OpenClient {
  return (hosts, ttlSeconds) => {
    const locker = create({ hosts: [...hosts], prefix, ttlMs: ttlSeconds * 1_000, ...options });
    return Promise.resolve({
      lock: (name, signal) => locker.lock(name, signal === undefined ? undefined : { signal }),
      lockShared: (name) => locker.lock(name, { mode: 'shared' }),
      tryLock: (name) => locker.tryLock(name),
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
}
