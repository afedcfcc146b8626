/** Tests that a leader that is frozen and woken neither makes two holders nor ends healthy locks. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lock } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';

/** Records each moment at which `held` is true for more than one of the locks. */
function startOverlapCheck() {
  const locks: Lock[] = [];
  const overlaps: string[] = [];
  const timer = setInterval(() => {
    const holders = locks.filter(({ held }) => held);
    if (holders.length > 1) overlaps.push(holders.map(({ fencingToken }) => String(fencingToken)).join(' and '));
  }, 2);
  return {
    locks,
    overlaps,
    [Symbol.dispose]() {
      clearInterval(timer);
    },
  };
}

/** Before 3.4.31 and 3.5.13, a former leader revokes live leases after it wakes (etcd #15247). */
function keepsLiveLeases(version: string): boolean {
  const [, minor = 0, patch = 0] = version.split('.').map(Number);
  return minor > 5 || (minor === 5 && patch >= 13) || (minor === 4 && patch >= 31);
}

describe.skipIf(!(await canControlServers()))('a leader that is frozen and woken', () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    // An election must end long before a lease does.
    stage = stageOn(await startCluster(3, { heartbeatMs: 50, electionMs: 500 }));
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  const findMembers = async () => {
    const leader = await stage.server.leader();
    const [first, second] = stage.server.members.filter((member) => member !== leader);
    if (first === undefined || second === undefined) throw new RangeError('there are no two followers');
    return [leader, first, second] as const;
  };

  test('makes no second holder by its renewals, and ends no healthy lock', { timeout: 60_000 }, async () => {
    using check = startOverlapCheck();
    const ttlMs = 5_000;
    for (let round = 0; round < 2; round += 1) {
      const [leader, follower] = await findMembers();
      const name = `x${String(round)}`;
      // Each locker uses one member only.
      const [atLeader, atFollower] = [
        stage.createLockerAt([leader.endpoint], { ttlMs }),
        stage.createLockerAt([follower.endpoint], { ttlMs }),
      ];
      const healthy = await atFollower.lock(`healthy${String(round)}`);
      const lock = await atLeader.lock(name);
      check.locks.push(lock);
      const next = follow(atFollower.lock(name).then((acquired) => (check.locks.push(acquired), acquired)));
      await sleep(300);

      await leader.freeze();
      await stage.server.leader();
      // The latest moment for the test: a renewal that counted now would outlast the lease at the new leader.
      while (lock.remainingMs > 900) await sleep(5);
      const before = lock.remainingMs;
      leader.thaw();
      for (let until = performance.now() + 300; performance.now() < until && lock.remainingMs <= before;) await sleep(2);
      await leader.freeze();
      await eventually(() => {
        expect(next.value?.held).toBe(true);
      }, 15_000);

      expect(check.overlaps).toEqual([]);
      expect(lock.held).toBe(false);
      expect([healthy.held, healthy.signal.aborted]).toEqual([true, false]);
      expect(next.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
      leader.thaw();
      await Promise.all([atFollower.close(), atLeader.close()]);
    }
  });

  test('allows one holder at a time when it is frozen again and again', { timeout: 60_000 }, async () => {
    using check = startOverlapCheck();
    const ttlMs = 8_000;
    const lockers = stage.server.members.map((member) => stage.createLockerAt([member.endpoint], { ttlMs, requestTimeoutMs: 3_000 }));
    const kept = await Promise.all(lockers.map((locker, index) => locker.lock(`kept${String(index)}`)));
    let isFinished = false;
    const contend = async (locker: (typeof lockers)[number]): Promise<void> => {
      while (!isFinished) {
        // A caller without an entry may get an error, because its only member does not answer.
        const lock = await locker.lock('x').catch(() => sleep(50, null));
        if (lock === null) continue;
        check.locks.push(lock);
        expect(lock.held).toBe(true);
        await sleep(20);
        await lock.release();
      }
    };
    const contending = lockers.map(contend);

    for (let round = 0; round < 8; round += 1) {
      const leader = await stage.server.leader();
      await leader.freeze();
      await stage.server.leader();
      await sleep(300 * (round % 3));
      leader.thaw();
      await sleep(150 * (round % 4));
    }
    isFinished = true;
    await Promise.all(contending);

    expect(check.overlaps).toEqual([]);
    const tokens = check.locks.map(({ fencingToken }) => fencingToken);
    expect(tokens.length).toBeGreaterThan(20);
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => (a < b ? -1 : 1)));
    expect(kept.map(({ held, signal }) => held === signal.aborted)).toEqual(kept.map(() => false));
    if (keepsLiveLeases(stage.server.version)) expect(kept.map(({ held }) => held)).toEqual(kept.map(() => true));
    expect(await stage.etcd.entries('x')).toEqual([]);
  });

  test('ends no lock whose lease it does not know yet', { timeout: 40_000 }, async () => {
    for (let round = 0; round < 2; round += 1) {
      const [leader, follower, other] = await findMembers();
      await using proxy = await startTcpProxy(follower.endpoint);
      await leader.freeze();
      await stage.server.leader();
      const failures: string[] = [];
      const logger = { ...console, debug: (message: string) => failures.push(message) };
      // Another member grants the lease. The second renewal goes to the frozen member.
      const hosts = [proxy.endpoint, leader.endpoint, other.endpoint];
      const locker = stage.createLockerAt(hosts, { ttlMs: 6_000, logger });
      const lock = await locker.lock('x');

      proxy.hang();
      await eventually(() => {
        expect(failures.join()).toMatch(/cannot renew lease/);
      });
      await sleep(200);
      leader.thaw();
      await sleep(1_000);

      expect([lock.held, lock.signal.aborted]).toEqual([true, false]);
      await lock.release();
      await locker.close();
    }
  });
});
