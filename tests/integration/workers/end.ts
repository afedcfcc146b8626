/** Does its work and forgets close(); tells when nothing but what the locker holds could keep the process alive. */
import { once } from 'node:events';
import { createLocker } from '../../../src/index.ts';
import { settings, tell } from './tell.ts';

const { hosts, prefix, ttlMs, name, scenario } = settings;
const locker = createLocker({ hosts, prefix, ttlMs });

const scenarios: Record<string, () => Promise<void>> = {
  async 'never used'() {
    await Promise.resolve();
  },
  async 'a lock released'() {
    await locker.withLock(name, () => undefined);
  },
  async 'a lock held and never released'() {
    await locker.lock(name);
  },
  async 'a lock held until it is told to go on'() {
    await locker.lock(name);
    const stay = setInterval(() => undefined, 1_000);
    const told = once(process, 'SIGUSR2');
    tell('holding');
    await told;
    clearInterval(stay);
  },
  async 'a lock that it had waited for and never released'() {
    await locker.lock(name);
  },
  async 'a tryLock() that found the lock taken'() {
    await locker.tryLock(name);
  },
  async 'a watch ended'() {
    for await (const state of locker.watch(name)) if (state.name === name) break;
  },
  async 'a lock() that was out of time'() {
    await locker.lock(name, { timeoutMs: 300 }).catch((error: unknown) => {
      tell('refused', { code: (error as { code?: unknown }).code });
    });
  },
  // It is the local queue that it waits in, behind a holder that does not keep the process alive.
  async 'a lock() in the local queue'() {
    const first = await locker.lock(name);
    setTimeout(() => {
      tell('releasing');
      void first.release();
    }, 1_500).unref();
    const second = await locker.lock(name);
    tell('got it', { held: second.held });
  },
  async 'a lock() in the queue of etcd'() {
    const lock = await locker.lock(name);
    tell('got it', { held: lock.held });
  },
};

tell('working');
await scenarios[scenario]?.();
tell('done');
