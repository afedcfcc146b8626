/** Tests the number of requests that each call of a locker costs, by the metrics of etcd. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Lock, Locker, LockOptions } from '../../src/index.ts';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow, type Followed } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

/** Returns the number of calls of each method that the server has completed. A stream counts at its end. */
async function countCalls(server: EtcdServer): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const [, method = '', count] of (await server.metrics()).matchAll(
    /^grpc_server_handled_total\{.*grpc_method="(\w+)".*\} (\S+)$/gm,
  )) {
    if (Number(count) > 0) counts.set(method, (counts.get(method) ?? 0) + Number(count));
  }
  return counts;
}

// On a shared server, the count includes calls of other clients.
/** Lets each locker take and release the lock `holds` times, all at once. */
async function holdInTurn(lockers: readonly Locker[], name: string, holds: number): Promise<void> {
  await Promise.all(
    lockers.map(async (locker) => {
      for (let hold = 0; hold < holds; hold += 1) {
        const lock = await locker.lock(name);
        await lock.release();
      }
    }),
  );
}

describe.skipIf((await findEtcd()).kind === 'endpoints')('calls to etcd', () => {
  // With this TTL, no heartbeat is counted.
  const ttlMs = 600_000;
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  const countDuring = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    const before = await countCalls(stage.server);
    await work();
    const after = await countCalls(stage.server);
    return Object.fromEntries(
      [...after].map(([method, count]) => [method, count - (before.get(method) ?? 0)] as const).filter(([, count]) => count > 0),
    );
  };
  // etcd counts a call at its end. The event of its write may come first.
  const counted = (): Promise<void> => sleep(200);
  const countWatchRequests = async (): Promise<number> =>
    Number(/^grpc_server_msg_received_total\{.*grpc_method="Watch".*\} (\S+)$/m.exec(await stage.server.metrics())?.[1] ?? 0);
  const openLocker = async () => {
    const locker = stage.createLocker({ ttlMs });
    await locker.withLock('warm', () => undefined);
    return locker;
  };

  test('are one Txn for lock() and one for release() when the name is free and the session is open', async () => {
    const locker = await openLocker();

    const calls = await countDuring(async () => {
      for (let hold = 0; hold < 10; hold += 1) {
        const lock = await locker.lock('x');
        await lock.release();
      }
    });

    expect(calls).toEqual({ Txn: 20 });
  });

  test('are one Txn for tryLock() and one for release() when the name is free', async () => {
    const locker = await openLocker();

    const calls = await countDuring(async () => {
      const lock = await locker.tryLock('x');
      await lock?.release();
    });

    expect(calls).toEqual({ Txn: 2 });
  });

  test('are one LeaseGrant and two Txn for the first lock()', async () => {
    const locker = stage.createLocker({ ttlMs });

    expect(await countDuring(() => locker.lock('x'))).toEqual({ LeaseGrant: 1, Txn: 2 });
  });

  test('are one Txn for each hold when callers of one locker follow each other', async () => {
    const locker = await openLocker();
    const holds = 20;

    const calls = await countDuring(() => Promise.all(Array.from({ length: holds }, () => locker.withLock('x', () => sleep(1)))));

    // The last release takes one more.
    expect(calls).toEqual({ Txn: holds + 1 });
  });

  test('are one Txn for tryLock() when another locker holds the name', async () => {
    const [locker, others] = [await openLocker(), await openLocker()];
    const held = await others.lock('x');

    const calls = await countDuring(async () => {
      expect(await locker.tryLock('x')).toBeNull();
    });

    expect(calls).toEqual({ Txn: 1 });
    await held.release();
  });

  test('are none for tryLock() when this locker holds the name', async () => {
    const locker = await openLocker();
    await locker.lock('x');

    const calls = await countDuring(async () => {
      expect(await locker.tryLock('x')).toBeNull();
    });

    expect(calls).toEqual({});
  });

  test('are one Txn for lock() and one for release() of each kind when it is admitted at once', async () => {
    const locker = await openLocker();
    await locker.lock('catalogue', { mode: 'shared' });
    await locker.lock('licences', { slots: 3 });

    for (const [name, kind] of [
      ['catalogue', { mode: 'shared' }],
      ['licences', { slots: 3 }],
    ] as const) {
      const calls = await countDuring(async () => {
        const lock = await locker.lock(name, kind);
        await lock.release();
      });

      expect(calls).toEqual({ Txn: 2 });
    }
  });

  test('are a look, an enqueue and a release for tryLock() of a shared lock', async () => {
    const locker = await openLocker();
    await locker.lock('catalogue', { mode: 'shared' });

    const calls = await countDuring(async () => {
      const lock = await locker.tryLock('catalogue', { mode: 'shared' });
      await lock?.release();
    });

    // The enqueue compares the queue with the revision of the look.
    expect(calls).toEqual({ Txn: 3 });
  });

  test('are one look for tryLock() when its kind is not admitted', async () => {
    const [locker, others] = [await openLocker(), await openLocker()];
    await others.lock('catalogue');

    const calls = await countDuring(async () => {
      expect(await locker.tryLock('catalogue', { mode: 'shared' })).toBeNull();
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test.each([1, 3, 100])('are one Txn for tryLockAll() of %i names', async (count) => {
    const locker = await openLocker();
    const names = Array.from({ length: count }, (_, index) => `name-${String(index)}`);

    const calls = await countDuring(() => locker.tryLockAll(names));

    expect(calls).toEqual({ Txn: 1 });
  });

  test.each([1, 3, 64])('are one Txn for the release of %i names at once', async (count) => {
    const locker = await openLocker();
    const locks = await locker.tryLockAll(Array.from({ length: count }, (_, index) => `name-${String(index)}`));

    const calls = await countDuring(() => locks?.release() ?? Promise.reject(new Error('not held')));

    // One request holds up to 64 commits.
    expect(calls).toEqual({ Txn: 1 });
  });

  test('are one Txn for the release of several holders of one name at once', async () => {
    const locker = await openLocker();
    const locks: Lock[] = [];
    for (let n = 0; n < 5; n += 1) locks.push(await locker.lock('catalogue', { mode: 'shared' }));

    expect(await countDuring(() => Promise.all(locks.map((lock) => lock.release())))).toEqual({ Txn: 1 });
  });

  test('are one Txn for each name of lockAll(), in sequence, and one for the release of all', async () => {
    const locker = await openLocker();

    const calls = await countDuring(async () => {
      const locks = await locker.lockAll(['c', 'a', 'b']);
      await locks.release();
    });

    expect(calls).toEqual({ Txn: 3 + 1 });
  });

  test('are a release, and nothing else, when a slot of a semaphore becomes free', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const [first] = [await holders.lock('licences', { slots: 2 }), await holders.lock('licences', { slots: 2 })];
    const waiting = follow(waiters.lock('licences', { slots: 2 }));
    await stage.queued('licences', 3);
    await sleep(200);

    const calls = await countDuring(async () => {
      await first.release();
      await waiting.promise;
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test('are a lease, its gate and an entry for renew: false, and none while it is held', async () => {
    const locker = await openLocker();

    expect(await countDuring(() => locker.lock('x', { renew: false, ttlMs: 3_000 }))).toEqual({ LeaseGrant: 1, Txn: 2 });
    expect(await countDuring(() => sleep(2_000))).toEqual({});
  });

  test('are one Txn and one LeaseTimeToLive for each page of list() of one lease', async () => {
    const locker = await openLocker();
    await locker.tryLockAll(['a', 'b', 'c']);

    const calls = await countDuring(async () => {
      const names = [];
      for await (const { name } of locker.list()) names.push(name);
      expect(names).toEqual(['a', 'b', 'c']);
    });

    expect(calls).toEqual({ Txn: 1, LeaseTimeToLive: 1 });
  });

  test('are one Txn and one LeaseTimeToLive for each lease for inspect()', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    expect(await countDuring(() => holders.inspect('x'))).toEqual({ Txn: 1, LeaseTimeToLive: 2 });
    expect(await countDuring(() => holders.inspect('free'))).toEqual({ Txn: 1 });
    await held.release();
    await (await waiting.promise).release();
  });

  test('are one Txn to read and one for each holder for breakLock(), and an audit of the holder', async () => {
    const [holders, operator] = [await openLocker(), await openLocker()];
    const lock = await holders.lock('x');
    await sleep(200);

    const calls = await countDuring(async () => {
      await operator.breakLock('x');
      await sleep(200);
    });

    expect(lock.held).toBe(false);
    // The audit lists the keys of the lease, and reads the entry that is missing.
    expect(calls).toEqual({ Txn: 2 + 1, LeaseTimeToLive: 1 });
  });

  test('are none while lock() waits and no renewal is due', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const held = await holders.lock('x');
    const waiting = [follow(waiters.lock('x')), follow(waiters.lock('x')), follow(holders.lock('x'))];
    await stage.queued('x', 2);
    await sleep(200);

    const before = await countWatchRequests();

    expect(await countDuring(() => sleep(3_000))).toEqual({});

    // Each stream checks its liveness every requestTimeoutMs / 2: it creates and cancels a watch.
    expect((await countWatchRequests()) - before).toBeLessThanOrEqual(2 * 2 * 2);

    await held.release();
    await Promise.all(waiting.map(async ({ promise }) => (await promise).release()));
  });

  test('are none for a lock whose wanted is not read, and at most a watch and one Txn for one whose wanted is read', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const [plain, wanted] = [await holders.lock('plain'), await holders.lock('x')];
    await plain.setValue('other names change');
    const before = await countWatchRequests();

    expect(await countDuring(() => sleep(100))).toEqual({});
    expect(await countWatchRequests()).toBe(before);
    const first = await countDuring(async () => {
      expect(wanted.wanted.aborted).toBe(false);
      await sleep(300);
    });
    const waiting: Followed<Lock>[] = [];
    const later = await countDuring(async () => {
      waiting.push(follow(waiters.lock('x')));
      await eventually(() => {
        expect(wanted.wanted.aborted).toBe(true);
      });
      await counted();
    });

    expect(first).toEqual({ Txn: 1 });
    expect(later).toEqual({ Txn: 1 });
    await wanted.release();
    await Promise.all(waiting.map(async ({ promise }) => (await promise).release()));
  });

  test('are renewals and periodic looks while lock() waits', async () => {
    const shortTtlMs = 3_000;
    const [holders, waiters] = [await openLocker(), stage.createLocker({ ttlMs: shortTtlMs })];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    const calls = await countDuring(() => sleep(4_000));

    // A renewal is due after a third of the TTL, or up to a fifth earlier. Each one lists the keys of the lease.
    const beats = Math.ceil(4_000 / ((shortTtlMs / 3) * 0.8)) + 1;
    expect(Object.keys(calls).sort()).toEqual(['LeaseKeepAlive', 'LeaseTimeToLive', 'Range', 'Txn']);
    expect(calls['LeaseKeepAlive']).toBeGreaterThanOrEqual(2);
    expect(calls['LeaseKeepAlive']).toBeLessThanOrEqual(beats);
    expect(calls['Range']).toBe(calls['LeaseKeepAlive']);
    expect(calls['Txn']).toBeGreaterThanOrEqual(2);
    expect(calls['Txn']).toBeLessThanOrEqual(Math.ceil(4_000 / (shortTtlMs / 3)) + 1);
    await held.release();
    expect((await waiting.promise).held).toBe(true);
  });

  test('are a release, and nothing else, when a waiter follows the holder', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    const calls = await countDuring(async () => {
      await held.release();
      await waiting.promise;
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test.each<{ who: string; holder: LockOptions; waiters: LockOptions[] }>([
    { who: 'a writer behind a reader', holder: { mode: 'shared' }, waiters: [{}] },
    { who: 'two readers behind a writer', holder: {}, waiters: [{ mode: 'shared' }, { mode: 'shared' }] },
    { who: 'a semaphore behind a lock', holder: {}, waiters: [{ slots: 2 }] },
    { who: 'a lock behind a semaphore', holder: { slots: 2 }, waiters: [{}] },
  ])('are a release, and nothing else, for $who', async ({ holder, waiters }) => {
    const held = await (await openLocker()).lock('x', holder);
    const waiting: Followed<Lock>[] = [];
    for (const options of waiters) {
      waiting.push(follow((await openLocker()).lock('x', options)));
      await stage.queued('x', 1 + waiting.length);
    }
    await sleep(200);

    const calls = await countDuring(async () => {
      await held.release();
      await Promise.all(waiting.map(({ promise }) => promise));
      await counted();
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test('are one look of a third waiter when the second leaves, and none when the holder releases after that', async () => {
    const held = await (await openLocker()).lock('x');
    const leaving = new AbortController();
    const second = follow((await openLocker()).lock('x', { signal: leaving.signal }));
    await stage.queued('x', 2);
    const third = follow((await openLocker()).lock('x'));
    await stage.queued('x', 3);
    await sleep(200);

    const whenLeaving = await countDuring(async () => {
      leaving.abort();
      await expect(second.promise).rejects.toThrow();
      await counted();
    });
    const whenReleased = await countDuring(async () => {
      await held.release();
      await third.promise;
      await counted();
    });

    expect(whenLeaving).toEqual({ Txn: 2 });
    expect(whenReleased).toEqual({ Txn: 1 });
  });

  test('are the revocation of the lease, and nothing else, when the locker of the holder closes', async () => {
    const holder = await openLocker();
    await holder.lock('x');
    const waiting = follow((await openLocker()).lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    const calls = await countDuring(async () => {
      await holder.close();
      await waiting.promise;
      await counted();
    });

    expect(calls['Txn']).toBeUndefined();
    expect(calls['LeaseRevoke']).toBe(1);
  });

  test('are an enqueue and a release for each hold when two lockers alternate, with watches kept open', async () => {
    const lockers = [await openLocker(), await openLocker()];
    const holds = 20;
    const before = await countWatchRequests();

    const calls = await countDuring(() => holdInTurn(lockers, 'x', holds));

    // Until the watches of both entries are open, a hold may take a look or two.
    expect(calls['Txn']).toBeLessThanOrEqual(2 * (2 * holds + 6));
    expect((await countWatchRequests()) - before).toBeLessThanOrEqual(12);
  });

  test('are an enqueue, a look and a release for each hold when four lockers alternate', async () => {
    const lockers = await Promise.all([1, 2, 3, 4].map(() => openLocker()));
    const holds = 20;
    const before = await countWatchRequests();

    const calls = await countDuring(() => holdInTurn(lockers, 'y', holds));

    expect(calls['Txn']).toBeLessThanOrEqual(4 * (3 * holds + 8));
    // Each locker watches itself and up to three others, for as long as the work goes on.
    expect((await countWatchRequests()) - before).toBeLessThanOrEqual(4 * 10);
  });

  test('are none for lock(), tryLock() and release() of a kept lock', async () => {
    const locker = await openLocker();
    const options = { keepMs: 60_000 };
    await locker.withLock('x', options, () => undefined);
    // The watch is confirmed, and one look has read what is behind the entry.
    await sleep(300);

    const calls = await countDuring(async () => {
      for (let hold = 0; hold < 1_000; hold += 1) await locker.withLock('x', options, () => undefined);
      for (let hold = 0; hold < 100; hold += 1) await (await locker.tryLock('x', options))?.release();
      await Promise.all(Array.from({ length: 100 }, () => locker.withLock('x', options, () => undefined)));
    });

    expect(calls).toEqual({});
  });

  test('are none for kept locks on 100 names in rotation after the first round, which takes a creation and at most a look for each name', async () => {
    const locker = await openLocker();
    const options = { keepMs: 60_000 };
    const round = async (): Promise<void> => {
      for (let n = 0; n < 100; n += 1) await locker.withLock(`name-${String(n)}`, options, () => undefined);
    };

    const first = await countDuring(async () => {
      await round();
      await sleep(300);
    });
    const later = await countDuring(async () => {
      for (let rounds = 0; rounds < 10; rounds += 1) await round();
    });

    expect(first['Txn']).toBeGreaterThanOrEqual(100);
    expect(first['Txn']).toBeLessThanOrEqual(200);
    expect(later).toEqual({});
  });

  test('are one Txn of the keeper and at most three of the waiter when a kept lock is recalled', async () => {
    const [keeper, waiter] = [await openLocker(), await openLocker()];
    await keeper.withLock('x', { keepMs: 60_000 }, () => undefined);
    await sleep(300);

    const calls = await countDuring(async () => {
      await waiter.lock('x');
      await counted();
    });

    // The waiter creates its entry. It looks again if its watch begins late.
    expect(calls['Txn']).toBeGreaterThanOrEqual(1 + 1);
    expect(calls).toEqual({ Txn: calls['Txn'] });
    expect(calls['Txn']).toBeLessThanOrEqual(1 + 3);
  });
});
