/**
 * Tests the requests that etcd counts for each kind of work, and that the benchmark counts them right. How long anything takes is not for
 * a test to judge.
 *
 * Each locker has a member of its own, so that the counters of a member are those of one locker.
 */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { LockerOptions } from '../../src/index.ts';
import { canControlServers, findEtcd, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { callsAndMessages, serverCounts, since } from './metrics.ts';

const run = promisify(execFile);
const bench = fileURLToPath(new URL('bench.ts', import.meta.url));

interface Requests {
  /** Unary calls of all methods. */
  readonly calls: number;
  /** Messages of the locker on its streams: new watches, and pings of a stream. */
  readonly messages: number;
}

describe.skipIf(!(await canControlServers()))('requests by the counters of etcd', () => {
  let stage: Stage<EtcdCluster>;
  let lastName = 0;
  beforeAll(async () => {
    stage = stageOn(await startCluster(2));
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  /** Opens a locker on one member, with a session. With this TTL, no renewal is counted. */
  const openOn = async (member: 0 | 1, options: LockerOptions = {}) => {
    const locker = stage.createLocker({ ...options, ttlMs: 600_000, hosts: [stage.server.endpoints[member] ?? ''] });
    await locker.withLock(`warm-${String(member)}`, { keepMs: 0 }, () => undefined);
    return locker;
  };
  /** Another name for each try of a test. */
  const nextName = (): string => `name-${String((lastName += 1))}`;
  const countsOfBoth = () => Promise.all(stage.server.endpoints.map((endpoint) => serverCounts([endpoint])));
  /** Begins to count. The result ends it: it returns the requests at each member, also those shortly after the work. */
  const startCount = async (): Promise<() => Promise<Requests[]>> => {
    const before = await countsOfBoth();
    return async () => {
      await sleep(200);
      const after = await countsOfBoth();
      return after.map((counts, member) => {
        const [calls, messages] = callsAndMessages(since(before[member] ?? counts, counts).calls);
        return { calls, messages };
      });
    };
  };
  const countDuring = async (work: () => Promise<unknown>): Promise<Requests[]> => {
    const count = await startCount();
    await work();
    return count();
  };
  const none: Requests = { calls: 0, messages: 0 };

  test('a lock and its release are 2 calls and no message', async () => {
    const [locker, name] = [await openOn(0), nextName()];

    const counted = await countDuring(async () => {
      for (let hold = 0; hold < 10; hold += 1) await locker.withLock(name, () => undefined);
    });

    expect(counted).toEqual([{ calls: 20, messages: 0 }, none]);
  });

  test('a kept lock is taken and released without any request', async () => {
    const [locker, name] = [await openOn(0, { keepMs: 60_000 }), nextName()];
    await locker.withLock(name, () => undefined);
    await sleep(300); // its watch is confirmed, and the look behind it is done

    const counted = await countDuring(async () => {
      for (let hold = 0; hold < 1_000; hold += 1) await locker.withLock(name, () => undefined);
    });

    expect(counted).toEqual([none, none]);
  });

  test('a recall is 1 call of the keeper, and 2 to 3 of the contender with its release', async () => {
    const [keeper, contender, name] = [await openOn(0, { keepMs: 60_000 }), await openOn(1), nextName()];
    await keeper.withLock(name, () => undefined);
    await sleep(300);

    const [ofKeeper, ofContender] = await countDuring(() => contender.withLock(name, () => undefined));

    expect(ofKeeper?.calls).toBe(1);
    expect(ofContender?.calls).toBeGreaterThanOrEqual(2);
    expect(ofContender?.calls).toBeLessThanOrEqual(3);
  });

  test('a hand-over within one process is 1 call', async () => {
    const [locker, name, holds] = [await openOn(0), nextName(), 20];

    const counted = await countDuring(() => Promise.all(Array.from({ length: holds }, () => locker.withLock(name, () => sleep(1)))));

    // The last release has no successor.
    expect(counted).toEqual([{ calls: holds + 1, messages: 0 }, none]);
  });

  test('a hand-over between processes is 3 calls, none of them between the release and the hold', async () => {
    const [holder, waiter, name] = [await openOn(0), await openOn(1), nextName()];
    const held = await holder.lock(name);
    const count = await startCount();
    const waiting = follow(waiter.lock(name));
    await stage.queued(name, 2);
    const [, ofWaiting] = await count();
    const [ofRelease, ofWaiter] = await countDuring(async () => {
      await held.release();
      await waiting.promise;
    });

    // The enqueue, and the look after its watch was created.
    expect(ofWaiting?.calls).toBeLessThanOrEqual(2);
    expect(ofRelease).toEqual({ calls: 1, messages: 0 });
    // The watch of the predecessor may be cancelled.
    expect(ofWaiter?.calls).toBe(0);
    await (await waiting.promise).release();
  });

  test('a waiter sends no call', async () => {
    const [holder, waiter, name] = [await openOn(0), await openOn(1), nextName()];
    const held = await holder.lock(name);
    const waiting = follow(waiter.lock(name));
    await stage.queued(name, 2);
    await sleep(300);

    const counted = await countDuring(() => sleep(1_500));

    expect(counted.map(({ calls }) => calls)).toEqual([0, 0]);
    await held.release();
    await (await waiting.promise).release();
  });
});

// On a shared server, the count includes calls of other clients.
test.skipIf((await findEtcd()).kind === 'endpoints')('bench prints its tables: a lock and its release are exactly 2 requests', async () => {
  const { stdout } = await run(process.execPath, [bench, '--quick', '--rounds', '1', '--only', 'one', '--no-go']);

  expect(stdout).toMatch(/^workload +etcd-locker +etcd3 Lock +raw floor$/m);
  const [, requests = ''] = stdout.split('Requests to etcd for each');
  expect(requests).toMatch(/^one at a time +2 +3 \+ 1 +2$/m);
  expect(stdout).toMatch(/^one at a time +requests to etcd +exactly 2 +2 \((\d+) for \d+\) +✓ met$/m);
  expect(stdout).toContain('Go is left out: --no-go');
});

test.each([
  [['--only', 'nothing'], '--only takes one, paced, names-16'],
  [['--before', 'tests/bench'], 'Cannot take --before: tests/bench has no src/index.ts'],
])('bench reports an invalid option, and ends with 1: %j', async (args, message) => {
  const ended = run(process.execPath, [bench, ...args]);

  await expect(ended).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(message) as string });
});
