import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Lock } from '../../src/index.ts';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

/** How many calls of each method the server has answered; a stream counts when it ends. */
async function callsTo(server: EtcdServer): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const [, method = '', count] of (await server.metrics()).matchAll(
    /^grpc_server_handled_total\{.*grpc_method="(\w+)".*\} (\S+)$/gm,
  )) {
    if (Number(count) > 0) counts.set(method, (counts.get(method) ?? 0) + Number(count));
  }
  return counts;
}

// Of a server that others use too one cannot tell whose calls they are.
describe.skipIf((await findEtcd()).kind === 'endpoints')('calls to etcd', () => {
  // Long enough for no heartbeat to fall into what is counted.
  const ttlMs = 600_000;
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  const during = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    const before = await callsTo(stage.server);
    await work();
    const after = await callsTo(stage.server);
    return Object.fromEntries(
      [...after].map(([method, count]) => [method, count - (before.get(method) ?? 0)] as const).filter(([, count]) => count > 0),
    );
  };
  const toldOnWatches = async (): Promise<number> =>
    Number(/^grpc_server_msg_received_total\{.*grpc_method="Watch".*\} (\S+)$/m.exec(await stage.server.metrics())?.[1] ?? 0);
  const openLocker = async () => {
    const locker = stage.createLocker({ ttlMs });
    await locker.withLock('warm', () => undefined);
    return locker;
  };

  test('are one Txn to lock() and one to release() when nobody else wants it and the session is open', async () => {
    const locker = await openLocker();

    const calls = await during(async () => {
      for (let turn = 0; turn < 10; turn += 1) {
        const lock = await locker.lock('x');
        await lock.release();
      }
    });

    expect(calls).toEqual({ Txn: 20 });
  });

  test('are one Txn to tryLock() and one to release() when it is free', async () => {
    const locker = await openLocker();

    const calls = await during(async () => {
      const lock = await locker.tryLock('x');
      await lock?.release();
    });

    expect(calls).toEqual({ Txn: 2 });
  });

  test('are one lease and two Txn more for the first lock()', async () => {
    const locker = stage.createLocker({ ttlMs });

    expect(await during(() => locker.lock('x'))).toEqual({ LeaseGrant: 1, Txn: 2 });
  });

  test('are one Txn a turn when callers of one process take turns', async () => {
    const locker = await openLocker();
    const turns = 20;

    const calls = await during(() => Promise.all(Array.from({ length: turns }, () => locker.withLock('x', () => sleep(1)))));

    // And one to release it at last.
    expect(calls).toEqual({ Txn: turns + 1 });
  });

  test('are one Txn to tryLock() when somebody else has it', async () => {
    const [locker, others] = [await openLocker(), await openLocker()];
    const held = await others.lock('x');

    const calls = await during(async () => {
      expect(await locker.tryLock('x')).toBeNull();
    });

    expect(calls).toEqual({ Txn: 1 });
    await held.release();
  });

  test('are none to tryLock() when this process has it', async () => {
    const locker = await openLocker();
    await locker.lock('x');

    const calls = await during(async () => {
      expect(await locker.tryLock('x')).toBeNull();
    });

    expect(calls).toEqual({});
  });

  test('are one Txn to lock() and one to release() of every kind when nobody is in the way', async () => {
    const locker = await openLocker();
    await locker.lock('catalogue', { mode: 'shared' });
    await locker.lock('licences', { slots: 3 });

    for (const [name, kind] of [
      ['catalogue', { mode: 'shared' }],
      ['licences', { slots: 3 }],
    ] as const) {
      const calls = await during(async () => {
        const lock = await locker.lock(name, kind);
        await lock.release();
      });

      expect(calls).toEqual({ Txn: 2 });
    }
  });

  test('are a look, one Txn and the release to tryLock() of a kind that others may hold too', async () => {
    const locker = await openLocker();
    await locker.lock('catalogue', { mode: 'shared' });

    const calls = await during(async () => {
      const lock = await locker.tryLock('catalogue', { mode: 'shared' });
      await lock?.release();
    });

    // "Nobody has come since" can be compared only with the revision of a look.
    expect(calls).toEqual({ Txn: 3 });
  });

  test('are the look alone to tryLock() where its kind is not admitted', async () => {
    const [locker, others] = [await openLocker(), await openLocker()];
    await others.lock('catalogue');

    const calls = await during(async () => {
      expect(await locker.tryLock('catalogue', { mode: 'shared' })).toBeNull();
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test.each([1, 3, 100])('are one Txn to tryLockAll() of %i names', async (count) => {
    const locker = await openLocker();
    const names = Array.from({ length: count }, (_, index) => `name-${String(index)}`);

    const calls = await during(() => locker.tryLockAll(names));

    expect(calls).toEqual({ Txn: 1 });
  });

  test.each([1, 3, 64])('are one Txn to the release of %i names at once', async (count) => {
    const locker = await openLocker();
    const locks = await locker.tryLockAll(Array.from({ length: count }, (_, index) => `name-${String(index)}`));

    const calls = await during(() => locks?.release() ?? Promise.reject(new Error('not held')));

    // One request takes 64 commits.
    expect(calls).toEqual({ Txn: 1 });
  });

  test('are one Txn to the release of several holders of one name at once', async () => {
    const locker = await openLocker();
    const locks: Lock[] = [];
    for (let n = 0; n < 5; n += 1) locks.push(await locker.lock('catalogue', { mode: 'shared' }));

    expect(await during(() => Promise.all(locks.map((lock) => lock.release())))).toEqual({ Txn: 1 });
  });

  test('are one Txn a name to lockAll(), as each waits for the one before it, and one to release all', async () => {
    const locker = await openLocker();

    const calls = await during(async () => {
      const locks = await locker.lockAll(['c', 'a', 'b']);
      await locks.release();
    });

    expect(calls).toEqual({ Txn: 3 + 1 });
  });

  test('are a look and the release when a place in a semaphore becomes free', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const [first] = [await holders.lock('licences', { slots: 2 }), await holders.lock('licences', { slots: 2 })];
    const waiting = follow(waiters.lock('licences', { slots: 2 }));
    await stage.queued('licences', 3);
    await sleep(200);

    const calls = await during(async () => {
      await first.release();
      await waiting.promise;
    });

    expect(calls).toEqual({ Txn: 2 });
  });

  test('are a lease, its gate and the lock itself with renew: false, and none once it is held', async () => {
    const locker = await openLocker();

    expect(await during(() => locker.lock('x', { renew: false, ttlMs: 3_000 }))).toEqual({ LeaseGrant: 1, Txn: 2 });
    expect(await during(() => sleep(2_000))).toEqual({});
  });

  test('are one Txn for a page of list()', async () => {
    const locker = await openLocker();
    await locker.tryLockAll(['a', 'b', 'c']);

    const calls = await during(async () => {
      const names = [];
      for await (const { name } of locker.list()) names.push(name);
      expect(names).toEqual(['a', 'b', 'c']);
    });

    expect(calls).toEqual({ Txn: 1 });
  });

  test('are none while lock() waits and no renewal is due', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const held = await holders.lock('x');
    const waiting = [follow(waiters.lock('x')), follow(waiters.lock('x')), follow(holders.lock('x'))];
    await stage.queued('x', 2);
    await sleep(200);

    const before = await toldOnWatches();

    expect(await during(() => sleep(3_000))).toEqual({});

    // Every half of requestTimeoutMs each stream is asked whether it still hears, by a watch that comes and goes.
    expect((await toldOnWatches()) - before).toBeLessThanOrEqual(2 * 2 * 2);

    await held.release();
    await Promise.all(waiting.map(async ({ promise }) => (await promise).release()));
  });

  test('are its renewals and a look now and then while lock() waits', async () => {
    const short = 3_000;
    const [holders, waiters] = [await openLocker(), stage.createLocker({ ttlMs: short })];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    const calls = await during(() => sleep(4_000));

    // A third of the TTL, and a fifth earlier at most; the view of a member is asked for by those who hold only.
    const beats = Math.ceil(4_000 / ((short / 3) * 0.8)) + 1;
    expect(Object.keys(calls).sort()).toEqual(['LeaseKeepAlive', 'Range', 'Txn']);
    expect(calls['LeaseKeepAlive']).toBeGreaterThanOrEqual(2);
    expect(calls['LeaseKeepAlive']).toBeLessThanOrEqual(beats);
    expect(calls['Range']).toBe(calls['LeaseKeepAlive']);
    expect(calls['Txn']).toBeGreaterThanOrEqual(2);
    expect(calls['Txn']).toBeLessThanOrEqual(Math.ceil(4_000 / (short / 3)) + 1);
    await held.release();
    expect((await waiting.promise).held).toBe(true);
  });

  test('are a look and the release when the turn comes', async () => {
    const [holders, waiters] = [await openLocker(), await openLocker()];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(200);

    const calls = await during(async () => {
      await held.release();
      await waiting.promise;
    });

    expect(calls).toEqual({ Txn: 2 });
  });

  test('are an enqueue, a look and a release a turn when two processes take turns, on watches that are kept', async () => {
    const lockers = [await openLocker(), await openLocker()];
    const turns = 20;
    const before = await toldOnWatches();

    const calls = await during(() =>
      Promise.all(
        lockers.map(async (locker) => {
          for (let turn = 0; turn < turns; turn += 1) {
            const lock = await locker.lock('x');
            await lock.release();
          }
        }),
      ),
    );

    // One more for each, where a watch came to stand only after the look.
    expect(calls['Txn']).toBeLessThanOrEqual(2 * (3 * turns + 3));
    expect((await toldOnWatches()) - before).toBeLessThanOrEqual(8);
  });
});
