/** Drops or keeps the handle of a held lock as a scenario says, collects the garbage, and reports whether the lock is still held. */
import { setImmediate as tick } from 'node:timers/promises';
import { createLocker, type Lock } from '../../../src/index.ts';
import { ManualClock, memoryStore } from '../../../src/testing/index.ts';
import { webLocks } from '../../../src/web-locks/index.ts';

const [scenario = '', logs = 'logger'] = process.argv.slice(2);
const collectGarbage = (globalThis as { gc?: () => void }).gc;
const clock = new ManualClock();
const store = memoryStore({ clock });
const lines: string[] = [];
const log = (line: unknown): void => {
  lines.push(String(line));
};
const locker = createLocker({
  store,
  ...(logs === 'logger' ? { logger: { debug: () => undefined, info: log, warn: log, error: log } } : {}),
});
const observer = createLocker({ store });
/** Nothing refers to this promise, so the library must keep what waits for it. */
const never = (): Promise<never> => new Promise(() => undefined);
const kept: unknown[] = [];
const aborts: string[] = [];

async function collect(): Promise<void> {
  // The first tick of the heartbeat lets go of the handle. A registry calls back in a later tick of the event loop.
  for (let rounds = 0; rounds < 6; rounds += 1) {
    await clock.advance(1_000);
    collectGarbage?.();
    await tick();
  }
}

const scenarios: Record<string, () => Promise<void>> = {
  async dropped() {
    await locker.lock('a');
  },
  async 'dropped after its signal and guard were used'() {
    const lock = await locker.lock('a');
    const controller = new AbortController();
    // A signal that is made from others does not keep them.
    AbortSignal.any([lock.signal, controller.signal]).addEventListener('abort', () => aborts.push('any'));
    kept.push(lock.guard);
  },
  async 'dropped after its wanted was used'() {
    const { wanted } = await locker.lock('a');
    AbortSignal.any([wanted]).addEventListener('abort', () => aborts.push('any'));
  },
  async 'dropped after its wanted has aborted'() {
    (await locker.lock('a')).wanted.addEventListener('abort', () => undefined);
    const giveUp = new AbortController();
    const waiting = locker.lock('a', { signal: giveUp.signal }).catch(() => undefined);
    giveUp.abort();
    await waiting;
  },
  async 'dropped, taken by a try'() {
    await locker.tryLock('a', { slots: 2 });
  },
  async 'dropped, several names'() {
    await locker.lockAll(['a', 'b']);
  },
  async 'dropped, with a limit'() {
    await locker.lock('a', { maxHoldMs: 3_600_000 });
  },
  async 'dropped, with keepMs'() {
    await locker.withLock('a', { keepMs: 3_600_000 }, () => undefined);
    await locker.lock('a', { keepMs: 3_600_000 });
  },
  async 'dropped, without renewal'() {
    await locker.lock('a', { renew: false });
  },
  async 'kept in an object'() {
    kept.push(await locker.lock('a'));
  },
  async 'its signal is kept'() {
    kept.push((await locker.lock('a')).signal);
  },
  async 'its signal has a listener'() {
    (await locker.lock('a')).signal.addEventListener('abort', () => aborts.push('a'));
  },
  async 'its wanted is kept'() {
    kept.push((await locker.lock('a')).wanted);
  },
  async 'its wanted has a listener'() {
    (await locker.lock('a')).wanted.addEventListener('abort', () => aborts.push('wanted'));
  },
  async 'its signal gets a listener late'() {
    const { signal } = await locker.lock('a');
    kept.push(signal);
    await collect();
    kept.length = 0;
    signal.addEventListener('abort', () => aborts.push('a'));
  },
  async 'one of several names is kept'() {
    kept.push((await locker.lockAll(['a', 'b'])).locks[1]);
  },
  async 'the signal of several names has a listener'() {
    (await locker.lockAll(['a', 'b'])).signal.addEventListener('abort', () => aborts.push('all'));
  },
  async 'withLock() runs'() {
    locker.withLock('a', never).catch(() => undefined);
    await clock.settle();
  },
  async 'lead() runs'() {
    locker.lead('a', never).catch(() => undefined);
    await clock.settle();
  },
  async 'a callback of Web Locks runs'() {
    webLocks(locker)
      .request('a', never)
      .catch(() => undefined);
    await clock.settle();
  },
};

await scenarios[scenario]?.();
await collect();
const { held } = await observer.inspect('a');
console.log(JSON.stringify({ step: 'collected', held, lines }));
if (held && aborts.length === 0) {
  clock.freeze(60_000);
  await clock.advance(1_000);
  console.log(JSON.stringify({ step: 'lost', aborts, signals: kept.map((one) => (one as Partial<Lock & AbortSignal>).aborted) }));
}
