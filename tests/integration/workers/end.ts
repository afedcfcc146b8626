/** Runs a scenario without close(), and reports when only the locker could keep the process alive. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred } from '../../../src/deferred.ts';
import { createLocker } from '../../../src/index.ts';
import { report, settings } from './report.ts';

const { hosts, prefix, ttlMs, requestTimeoutMs, name, scenario } = settings;
const locker = createLocker({ hosts, prefix, ttlMs, requestTimeoutMs });

const scenarios: Record<string, () => Promise<void>> = {
  async 'never used'() {
    await Promise.resolve();
  },
  async 'a lock released'() {
    await locker.withLock(name, () => undefined);
  },
  async 'a lock kept after its release'() {
    await locker.withLock(name, { keepMs: 3_600_000 }, () => undefined);
    await locker.withLock(name, { keepMs: 3_600_000 }, () => undefined);
  },
  async 'a lock held and never released'() {
    await locker.lock(name);
  },
  async 'a lock held whose wanted has a listener'() {
    const lock = await locker.lock(name);
    lock.wanted.addEventListener('abort', () => void lock.release());
    await sleep(500);
  },
  async 'a lock kept'() {
    await locker.withLock(name, { keepMs: 600_000 }, () => undefined);
    await sleep(500);
  },
  async 'a lock held until a signal'() {
    const lock = await locker.lock(name);
    const stay = setInterval(() => lock.name, 1_000);
    const signalled = once(process, 'SIGUSR2');
    report('holding');
    await signalled;
    clearInterval(stay);
  },
  async 'a lock acquired after waiting and never released'() {
    await locker.lock(name);
  },
  async 'a tryLock() that found the lock taken'() {
    await locker.tryLock(name);
  },
  async 'a watch ended'() {
    for await (const state of locker.watch(name)) if (state.name === name) break;
  },
  async 'a lock() that timed out'() {
    await locker.lock(name, { timeoutMs: 1_000 }).catch((error: unknown) => {
      report('rejected', { code: (error as { code?: unknown }).code });
    });
  },
  // The call waits in the local queue, behind a holder that does not keep the process alive.
  async 'a lock() in the local queue'() {
    const first = await locker.lock(name);
    setTimeout(() => {
      report('releasing');
      void first.release();
    }, 1_500).unref();
    const second = await locker.lock(name);
    report('holding', { held: second.held });
  },
  async 'a lock() in the queue of etcd'() {
    const lock = await locker.lock(name);
    report('holding', { held: lock.held });
  },
  async 'withLock() until the loss'() {
    await locker
      .withLock(name, async ({ signal }) => {
        report('holding');
        await once(signal, 'abort');
      })
      .catch((error: unknown) => {
        report('rejected', { code: (error as { code?: unknown }).code });
      });
  },
  async 'lead() until the second term'() {
    let terms = 0;
    await locker.lead(name, async ({ signal }) => {
      report('holding');
      terms += 1;
      if (terms === 1) await once(signal, 'abort');
    });
  },
  // The drain ends when the function has ended, which nothing else keeps alive.
  async 'close() with drainMs'() {
    const held = deferred();
    const running = locker.withLock(name, async () => {
      report('holding');
      held.resolve();
      await new Promise((resolve) => setTimeout(resolve, 1_500).unref());
    });
    // An entry in etcd is not enough: the response may still be on its way.
    await held.promise;
    await locker.close({ drainMs: 10_000 });
    report('closed');
    await running;
  },
  async 'closed while it connects'() {
    const locking = locker.lock(name).catch(() => undefined);
    await sleep(500);
    await locker.close();
    await locking;
    await sleep(50);
    report('closed', { resources: process.getActiveResourcesInfo() });
  },
};

report('working');
await scenarios[scenario]?.();
report('done');
