/** Tests of the log lines about acquired, released, lost and waiting locks, near deadlines and a blocked event loop. */
import { setImmediate as tick } from 'node:timers/promises';
import type { Locker, LockerOptions, LockOptions } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { calls, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

async function openLogged(options?: LockerOptions) {
  const memory = await openFaultyMemory();
  const [debugs, warnings]: [string[], string[]] = [[], []];
  const ignore = (): void => undefined;
  const logger = {
    debug: (line: unknown) => debugs.push(String(line)),
    info: ignore,
    warn: (line: unknown) => warnings.push(String(line)),
    error: ignore,
  };
  const locker = memory.createLocker({ ...options, logger });
  return { ...memory, locker, other: memory.createLocker(), debugs, warnings, [Symbol.asyncDispose]: () => memory[Symbol.asyncDispose]() };
}

const ofWaits = (lines: readonly string[]): string[] => lines.filter((line) => line.includes('still waiting'));
const ofOwn = (lines: readonly string[]): string[] =>
  lines.filter((line) => line.includes('which the function that it was called in holds'));

describe('the debug log', () => {
  test('has a line for each acquired and each released lock, with their times', async () => {
    await using memory = await openLogged();
    const first = await memory.other.lock('a');
    const locking = memory.locker.lock('a');
    await memory.clock.advance(250);
    await first.release();
    const lock = await locking;
    await memory.clock.advance(1_500);
    await lock.release();

    const token = String(lock.fencingToken);
    expect(memory.debugs).toEqual([
      `etcd-locker: acquired lock "a" (token ${token}) after 250 ms`,
      `etcd-locker: released lock "a" (token ${token}) after 1500 ms`,
    ]);
    expect(memory.warnings).toEqual([]);
  });
});

describe('a warning of a loss', () => {
  test('is one line for a lock that another program deleted, and for one that was held for maxHoldMs', async () => {
    await using memory = await openLogged();
    const [deleted, limited] = [await memory.locker.lock('a'), await memory.locker.lock('b', { maxHoldMs: 30_000 })];
    memory.etcd.commit({ compare: [], then: [{ delete: { key: deleted.key } }], otherwise: [] });

    await memory.clock.advance(60_000);

    expect(memory.warnings).toEqual([
      expect.stringContaining(`Cannot keep lock "a" (token ${String(deleted.fencingToken)}): its key in etcd was deleted`),
      expect.stringContaining(`Cannot keep lock "b" (token ${String(limited.fencingToken)}): it was held for longer than maxHoldMs`),
    ]);
  });

  test('is one line for all locks of a lease, and none for a close', async () => {
    await using memory = await openLogged();
    const locks = await Promise.all(['a', 'b', 'c'].map((name) => memory.locker.lock(name)));
    memory.store.every(calls.renew, lostRequest);

    await memory.clock.advance(20_000);
    expect(locks.map(({ held }) => held)).toEqual([false, false, false]);
    expect(memory.warnings).toEqual([expect.stringContaining('lost lease')]);
    memory.store.clearFaults();
    await memory.locker.lock('a');
    await memory.locker.close();

    expect(memory.warnings).toHaveLength(1);
  });
});

describe('a warning of a long wait', () => {
  test('comes once for each wait, after 10 s', async () => {
    await using memory = await openLogged();
    const holder = await memory.other.lock('a');
    const waiting = follow(memory.locker.lock('a'));

    await memory.clock.advance(9_900);
    expect(memory.warnings).toEqual([]);
    await memory.clock.advance(50_000);
    await holder.release();
    await waiting.promise;

    expect(memory.warnings).toEqual([
      'etcd-locker: still waiting for lock "a" after 10000 ms: another process holds it or waits before this one',
    ]);
  });

  test('comes after a third of timeoutMs, if that is earlier', async () => {
    await using memory = await openLogged();
    await memory.other.lock('a');
    const failed = errorOf(memory.locker.lock('a', { timeoutMs: 3_000 }));
    const long = errorOf(memory.locker.tryLock('a', { timeoutMs: 60_000 }));

    await memory.clock.advance(1_000);
    expect(memory.warnings).toEqual([expect.stringContaining('after 1000 ms: another process holds it')]);
    await memory.clock.advance(60_000);
    await Promise.all([failed, long]);

    expect(memory.warnings.slice(1)).toEqual([
      'etcd-locker: still waiting for lock "a" after 10000 ms: another process holds it or waits before this one',
    ]);
  });

  test('does not come for a candidate of lead()', async () => {
    await using memory = await openLogged();
    await memory.other.lock('a');
    const campaign = errorOf(memory.locker.lead('a', () => undefined));

    await memory.clock.advance(60_000);
    expect(memory.warnings).toEqual([]);
    await memory.locker.close();
    await campaign;
  });

  test('names the token of a holder in this process, and takes calls that wait together in one line', async () => {
    await using memory = await openLogged();
    const holder = await memory.locker.lock('a');
    const waiting = Array.from({ length: 1_000 }, () => errorOf(memory.locker.lock('a')));

    await memory.clock.advance(30_000);
    await memory.locker.close();
    await Promise.all(waiting);

    expect(ofWaits(memory.warnings)).toEqual([
      `etcd-locker: still waiting for lock "a" after 10000 ms (and 999 calls that came later): this process holds it (token ${String(holder.fencingToken)})`,
    ]);
  });

  test('counts calls that joined before it was known that the name is busy', async () => {
    await using memory = await openLogged();
    await memory.other.lock('a');
    const waiting = [1, 2, 3].map(() => errorOf(memory.locker.lock('a')));

    await memory.clock.advance(10_000);

    expect(ofWaits(memory.warnings)).toEqual([expect.stringContaining('(and 2 calls that came later): another process holds it')]);
    await memory.locker.close();
    await Promise.all(waiting);
  });

  test('does not block the event loop when tens of thousands of calls wait for one name', async () => {
    await using memory = await openLogged();
    await memory.other.lock('a');
    const waiting = [errorOf(memory.locker.lock('a'))];
    await memory.clock.settle();
    for (let calls = 1; calls < 40_000; calls += 1) waiting.push(errorOf(memory.locker.lock('a')));
    await memory.clock.advance(9_900);

    const startedMs = performance.now();
    await memory.clock.advance(200);
    expect(performance.now() - startedMs).toBeLessThan(1_000);

    expect(ofWaits(memory.warnings)).toEqual([expect.stringContaining('and 39999 calls that came later')]);
    await memory.locker.close();
    await Promise.all(waiting);
  });

  test('comes for calls that came together with the holder, before etcd has said anything', async () => {
    await using memory = await openLogged();
    const first = memory.locker.lock('a');
    const waiting = Array.from({ length: 3 }, () => errorOf(memory.locker.lock('a', { timeoutMs: 3_000 })));
    const holder = await first;

    await memory.clock.advance(3_000);
    await Promise.all(waiting);

    expect(ofWaits(memory.warnings)).toEqual([
      `etcd-locker: still waiting for lock "a" after 1000 ms (and 2 calls that came later): this process holds it (token ${String(holder.fencingToken)})`,
    ]);
  });

  test('leaves no timer behind, and sends no request', async () => {
    await using memory = await openLogged();
    const holder = await memory.other.lock('a');
    const waiting = follow(memory.locker.lock('a'));
    await memory.clock.settle();
    const requests = (): number => memory.store.count(calls.commit);
    const before = requests();

    await memory.clock.advance(4_000);
    expect(requests()).toBe(before);
    await holder.release();
    await waiting.promise;
    await memory.locker.close();
    await memory.other.close();

    expect(memory.clock.timerCount).toBe(0);
  });
});

describe('a warning of a deadline that came near', () => {
  test('says how little time was left when a renewal counted again', async () => {
    await using memory = await openLogged();
    const lock = await memory.locker.lock('a');
    const heal = memory.store.every(calls.renew, lostRequest);

    await memory.clock.advance(12_000);
    expect(memory.warnings).toEqual([]);
    heal();
    await memory.clock.advance(1_400);

    expect(lock.held).toBe(true);
    expect(memory.warnings).toEqual([
      expect.stringMatching(
        /^etcd-locker: renewed lease \d+ (\d|1?\d\d\d?) ms before its locks would have been lost, with a TTL of 15000 ms$/,
      ),
    ]);
  });

  test('does not come if the renewal counted early', async () => {
    await using memory = await openLogged();
    await memory.locker.lock('a');
    const heal = memory.store.every(calls.renew, lostRequest);
    await memory.clock.advance(7_000);
    heal();

    await memory.clock.advance(30_000);

    expect(memory.warnings).toEqual([]);
  });
});

describe('a warning of an event loop that stood still', () => {
  test('comes once if it was longer than a third of the TTL, from the late timer of the heartbeat', async () => {
    await using memory = await openLogged();
    const lock = await memory.locker.lock('a');
    await memory.clock.advance(1_000);

    memory.clock.freeze(6_500);
    await memory.clock.advance(10_000);

    expect(lock.held).toBe(true);
    expect(memory.warnings).toEqual([
      expect.stringMatching(/^etcd-locker: the event loop stood still for [56]\d\d\d ms, more than a third of the TTL of 15000 ms/),
    ]);
  });

  test('does not come for a shorter pause, or if nobody holds or waits', async () => {
    await using memory = await openLogged();
    const lock = await memory.locker.lock('a');
    memory.clock.freeze(4_000);
    await memory.clock.advance(5_000);
    await lock.release();
    memory.clock.freeze(6_500);

    await memory.clock.advance(60_000);

    expect(memory.warnings).toEqual([]);
  });
});

describe('a warning of a call that waits for a lock of its own async context', () => {
  test.each<[string, LockOptions, LockOptions]>([
    ['exclusive', {}, {}],
    ['from shared to exclusive', { mode: 'shared' }, {}],
    ['from exclusive to shared', {}, { mode: 'shared' }],
    ['the only slot', { slots: 1 }, { slots: 1 }],
    ['slots of another number', { slots: 2 }, { slots: 3 }],
  ])('comes at once: %s', async (_, outer, inner) => {
    await using memory = await openLogged();

    await memory.locker.withLock('a', outer, async ({ fencingToken }) => {
      await Promise.resolve();
      const waiting = errorOf(memory.locker.lock('a', { ...inner, timeoutMs: 1_000 }));
      await memory.clock.settle();
      expect(memory.warnings).toEqual([
        `etcd-locker: a call waits for lock "a", which the function that it was called in holds itself (token ${String(fencingToken)}); ` +
          'if that function awaits the call, neither ends',
      ]);
      await memory.clock.advance(1_000);
      await waiting;
    });

    expect(ofOwn(memory.warnings)).toHaveLength(1);
  });

  test('comes if a nested withLock() or lockAll() waits, and for a request of Web Locks inside another', async () => {
    await using memory = await openLogged();
    const { locker } = memory;

    await locker.withLock('a', () => locker.withLock('b', () => errorOf(advancing(memory, locker.lockAll(['c', 'a'], { timeoutMs: 10 })))));
    expect(ofOwn(memory.warnings)).toEqual([expect.stringContaining('a call waits for lock "a"')]);
    const locks = webLocks(locker);
    void errorOf(locks.request('w', () => locks.request('w', () => undefined)));
    await memory.clock.settle();

    expect(ofOwn(memory.warnings).slice(1)).toEqual([expect.stringContaining('a call waits for lock "w"')]);
  });

  test('comes for a shared call behind a writer that waits for the outer reader', async () => {
    await using memory = await openLogged();
    const { locker } = memory;

    await locker.withLock('a', { mode: 'shared' }, async () => {
      await using again = await locker.lock('a', { mode: 'shared' });
      expect(again.held).toBe(true);
      const writer = follow(memory.other.lock('a', { timeoutMs: 5_000 }).catch(() => undefined));
      await memory.clock.settle();
      expect(ofOwn(memory.warnings)).toEqual([]);
      const reader = errorOf(locker.lock('a', { mode: 'shared', timeoutMs: 1_000 }));
      await memory.clock.advance(1_000);
      await reader;
      expect(ofOwn(memory.warnings)).toHaveLength(1);
      await memory.clock.advance(5_000);
      await writer.promise;
    });
  });

  test.each<[string, (locker: Locker, other: Locker) => Promise<unknown>]>([
    ['another name', (locker) => locker.withLock('a', () => locker.withLock('b', () => undefined))],
    ['a try', (locker) => locker.withLock('a', () => locker.tryLock('a'))],
    [
      'a reader in a reader',
      (locker) => locker.withLock('a', { mode: 'shared' }, () => locker.withLock('a', { mode: 'shared' }, () => undefined)),
    ],
    ['a second slot', (locker) => locker.withLock('a', { slots: 2 }, () => locker.withLock('a', { slots: 2 }, () => undefined))],
    [
      'another context',
      async (locker) => {
        const running = locker.withLock('a', () => Promise.resolve());
        await locker.withLock('a', () => undefined);
        await running;
      },
    ],
    [
      'after the function has ended',
      async (locker) => {
        let later: (() => Promise<unknown>) | undefined;
        await locker.withLock('a', async () => {
          await Promise.resolve();
          const { AsyncResource } = await import('node:async_hooks');
          const again = (): Promise<unknown> => locker.withLock('a', () => undefined);
          const bound: unknown = AsyncResource.bind(again);
          later = bound as typeof again;
        });
        const holder = await locker.lock('a');
        const waiting = later?.();
        await tick();
        await holder.release();
        await waiting;
      },
    ],
    [
      'a slot that others hold',
      async (locker, other) => {
        const held = await other.lock('a', { slots: 2 });
        await locker.withLock('a', { slots: 2 }, async () => {
          const third = locker.lock('a', { slots: 2 });
          await tick();
          await held.release();
          await (await third).release();
        });
      },
    ],
  ])('does not come: %s', async (_, run) => {
    await using memory = await openLogged();

    await run(memory.locker, memory.other);

    expect(memory.warnings).toEqual([]);
  });
});

async function advancing<T>({ clock }: Awaited<ReturnType<typeof openLogged>>, promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  await clock.advance(1_000);
  return promise;
}
