/** Members that are killed, frozen, cut off from the quorum, or restarted in turn. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster, type EtcdMember } from '../support/etcd/etcd.ts';
import { waitUntilHealthy } from '../support/etcd/http.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, restoreCluster, Scenario } from './scenario.ts';

const lockLoop: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }] };
const keepLock = (name: string): Work => ({ work: 'keep', name });

describe.skipIf(!(await canControlServers()))('a member', { timeout: 90_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { ...timing, isolable: true }));
  });
  afterEach(() => restoreCluster(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  const followers = async (): Promise<EtcdMember[]> => {
    const leader = await stage.server.leader();
    return stage.server.members.filter((member) => member !== leader);
  };

  test('costs no lock when it is killed while clients use it', async () => {
    await using scenario = new Scenario('follower killed', stage, { ttlMs: 6_000 });
    for (const [index, follower] of (await followers()).entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, follower), callers: [lockLoop, keepLock(`kept${String(index)}`)] });
    }
    await scenario.waitForLocks(10);

    for (const follower of await followers()) {
      await scenario.fault('follower killed', follower.name, () => follower.kill());
      await scenario.waitForLocks(10);
      await follower.start();
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('leaves no ghost of 200 enqueues that are under way when it is frozen', async () => {
    const [processes, callers, locks] = [5, 2, 20];
    await using scenario = new Scenario('follower frozen with enqueues under way', stage);
    const leader = await stage.server.leader();
    const both = await followers();
    // The clients run to the end, so that their sessions would keep a ghost alive.
    const clients = Array.from({ length: processes }, (_, index) => {
      const [follower = leader] = both.slice(index % 2);
      const bursts = Array.from({ length: callers }, (_, caller): Work => ({
        work: 'bursts',
        name: `${String(index)}/${String(caller)}`,
        locks,
      }));
      return { follower, client: scenario.client({ hosts: [follower.endpoint, leader.endpoint], callers: bursts }) };
    });
    await Promise.all(clients.map(({ client }) => client.waitForCount('burst', callers)));

    for (const { follower, client } of clients) {
      await scenario.fault('follower frozen', follower.name, () => follower.freeze());
      await client.go();
      await client.waitForCount('burst', 2 * callers);
      follower.thaw();
      await waitUntilHealthy(follower.endpoint);
    }

    await sleep(500);
    const ghosts = await stage.etcd.entries();
    expect(ghosts).toEqual([]);
    expect((await scenario.end()).locks).toBe(processes * callers * (locks + 1));
  });

  test('stops no client when it is frozen for longer than the TTL, as a follower or as the leader', async () => {
    const ttlMs = 2_000;
    // A leader that wakes may revoke live leases (docs/guarantees.md, 2). Their holders learn of it with the next beat.
    const maxOverlapMs = ttlMs / 3 + 1_000;
    await using scenario = new Scenario('member frozen for longer than the TTL', stage, { ttlMs, maxOverlapMs });
    for (const member of stage.server.members) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, keepLock('kept')] });
    }
    await scenario.waitForLocks(10);

    const [follower] = await followers();
    for (const member of [follower, await stage.server.leader()]) {
      if (member === undefined) throw new RangeError('Cannot find a follower');
      await scenario.fault('member frozen', member.name, () => member.freeze());
      await Promise.all([sleep(ttlMs + 1_000), scenario.waitForLocks(10)]);
      member.thaw();
      await scenario.waitForLocks(10);
    }

    await scenario.end();
  });

  test('costs no lock of its clients when it is cut off from the quorum', async () => {
    await using scenario = new Scenario('member cut off from the quorum', stage, { ttlMs: 6_000 });
    const [follower] = await followers();
    const leader = await stage.server.leader();
    if (follower === undefined) throw new RangeError('Cannot find a follower');
    for (const [index, member] of [follower, leader].entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, keepLock(`kept${String(index)}`)] });
    }
    await scenario.waitForLocks(10);

    for (const member of [follower, leader]) {
      await scenario.fault('member cut off', member.name, () => stage.server.isolate(member));
      await Promise.all([sleep(2_000), scenario.waitForLocks(10)]);
      stage.server.rejoin();
      await waitUntilHealthy(member.endpoint);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('costs no lock when all members are restarted in turn under load', async () => {
    await using scenario = new Scenario('rolling restart', stage, { ttlMs: 6_000 });
    for (const [index, member] of stage.server.members.entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, keepLock(`kept${String(index)}`)] });
    }
    await scenario.waitForLocks(10);

    for (const member of stage.server.members) {
      await scenario.fault('member restarted', member.name, () => member.terminate());
      await scenario.waitForLocks(5);
      await member.start();
      await scenario.waitForLocks(5);
    }

    const { losses } = await scenario.end();
    expect(losses).toBe(0);
    await eventually(async () => {
      expect(await stage.etcd.entries()).toEqual([]);
    });
  });
});
