import { setTimeout as sleep } from 'node:timers/promises';
import type { Lock } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';

/** Notes every moment at which more than one of the locks is certain of being held. */
function startWitness() {
  const locks: Lock[] = [];
  const overlaps: string[] = [];
  const timer = setInterval(() => {
    const certain = locks.filter(({ held }) => held);
    if (certain.length > 1) overlaps.push(certain.map(({ fencingToken }) => String(fencingToken)).join(' and '));
  }, 2);
  return {
    locks,
    overlaps,
    [Symbol.dispose]() {
      clearInterval(timer);
    },
  };
}

/** A former leader of the versions before 3.4.31 and 3.5.13 revokes leases that are alive when it is woken (etcd #15247). */
function keepsLiveLeases(version: string): boolean {
  const [, minor = 0, patch = 0] = version.split('.').map(Number);
  return minor > 5 || (minor === 5 && patch >= 13) || (minor === 4 && patch >= 31);
}

describe.skipIf(!(await canControlServers()))('a leader that is frozen and woken', () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    // New leaders are to be there long before a lease is over.
    stage = stageOn(await startCluster(3, { heartbeatMs: 50, electionMs: 500 }));
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  const leaderAndFollowers = async () => {
    const leader = await stage.server.leader();
    const [first, second] = stage.server.members.filter((member) => member !== leader);
    if (first === undefined || second === undefined) throw new RangeError('there are no two followers');
    return [leader, first, second] as const;
  };

  test('makes no two certain holders by its renewals, and costs no healthy lock', { timeout: 60_000 }, async () => {
    using witness = startWitness();
    const ttlMs = 5_000;
    for (let round = 0; round < 2; round += 1) {
      const [leader, follower] = await leaderAndFollowers();
      const name = `x${String(round)}`;
      // Each asks one member alone.
      const [there, here] = [stage.createLockerAt([leader.endpoint], { ttlMs }), stage.createLockerAt([follower.endpoint], { ttlMs })];
      const healthy = await here.lock(`healthy${String(round)}`);
      const lock = await there.lock(name);
      witness.locks.push(lock);
      const next = follow(here.lock(name).then((won) => (witness.locks.push(won), won)));
      await sleep(300);

      await leader.freeze();
      await stage.server.leader();
      // As late as it may be: a renewal that counts now would count beyond the end of the lease at the new leader.
      while (lock.remainingMs > 900) await sleep(5);
      const before = lock.remainingMs;
      leader.thaw();
      for (let until = performance.now() + 300; performance.now() < until && lock.remainingMs <= before;) await sleep(2);
      await leader.freeze();
      await eventually(() => {
        expect(next.value?.held).toBe(true);
      }, 15_000);

      expect(witness.overlaps).toEqual([]);
      expect(lock.held).toBe(false);
      expect([healthy.held, healthy.signal.aborted]).toEqual([true, false]);
      expect(next.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
      leader.thaw();
      await Promise.all([here.close(), there.close()]);
    }
  });

  test('lets locks be taken in turn, one certain holder at a time, when it happens again and again', { timeout: 60_000 }, async () => {
    using witness = startWitness();
    const ttlMs = 8_000;
    const lockers = stage.server.members.map((member) => stage.createLockerAt([member.endpoint], { ttlMs, requestTimeoutMs: 3_000 }));
    const kept = await Promise.all(lockers.map((locker, index) => locker.lock(`kept${String(index)}`)));
    let isOver = false;
    const contend = async (locker: (typeof lockers)[number]): Promise<void> => {
      while (!isOver) {
        // One that has no place yet may be told that its only member does not answer.
        const lock = await locker.lock('x').catch(() => sleep(50, null));
        if (lock === null) continue;
        witness.locks.push(lock);
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
    isOver = true;
    await Promise.all(contending);

    expect(witness.overlaps).toEqual([]);
    const tokens = witness.locks.map(({ fencingToken }) => fencingToken);
    expect(tokens.length).toBeGreaterThan(20);
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => (a < b ? -1 : 1)));
    expect(kept.map(({ held, signal }) => held === signal.aborted)).toEqual(kept.map(() => false));
    if (keepsLiveLeases(stage.server.version)) expect(kept.map(({ held }) => held)).toEqual(kept.map(() => true));
    expect(await stage.etcd.entries('x')).toEqual([]);
  });

  test('costs no lock whose lease it does not know yet', { timeout: 40_000 }, async () => {
    for (let round = 0; round < 2; round += 1) {
      const [leader, follower, other] = await leaderAndFollowers();
      await using proxy = await startTcpProxy(follower.endpoint);
      await leader.freeze();
      await stage.server.leader();
      const failures: string[] = [];
      const logger = { ...console, debug: (message: string) => failures.push(message) };
      // The lease is granted without the frozen one, and its next renewal but one goes there.
      const hosts = [proxy.endpoint, leader.endpoint, other.endpoint];
      const locker = stage.createLockerAt(hosts, { ttlMs: 6_000, logger });
      const lock = await locker.lock('x');

      proxy.hang();
      await eventually(() => {
        expect(failures.join()).toMatch(/renewal .* failed/);
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
