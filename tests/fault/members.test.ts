/** Members that die, hang, are cut off from the others, or are restarted one after the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster, type EtcdMember } from '../support/etcd/etcd.ts';
import { waitUntilHealthy } from '../support/etcd/http.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, mend, Scenario } from './scenario.ts';

const turns: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }] };
const keep = (name: string): Work => ({ work: 'keep', name });

describe.skipIf(!(await canControlServers()))('a member', { timeout: 90_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { ...timing, isolable: true }));
  });
  afterEach(() => mend(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  const followers = async (): Promise<EtcdMember[]> => {
    const leader = await stage.server.leader();
    return stage.server.members.filter((member) => member !== leader);
  };

  test('that is killed while we talk to it costs no lock', async () => {
    await using scenario = new Scenario('follower killed', stage, { ttlMs: 6_000 });
    for (const [index, follower] of (await followers()).entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, follower), callers: [turns, keep(`kept${String(index)}`)] });
    }
    await scenario.progress(10);

    for (const follower of await followers()) {
      await scenario.fault('follower killed', follower.name, () => follower.kill());
      await scenario.progress(10);
      await follower.start();
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('that is frozen while enqueues are on their way to it leaves no ghost of 200', async () => {
    const [processes, callers, locks] = [5, 2, 20];
    await using scenario = new Scenario('follower frozen with enqueues under way', stage);
    const leader = await stage.server.leader();
    const both = await followers();
    // All stay to the end, so that their sessions would keep a ghost alive.
    const clients = Array.from({ length: processes }, (_, index) => {
      const [follower = leader] = both.slice(index % 2);
      const bursts = Array.from({ length: callers }, (_, caller): Work => ({
        work: 'bursts',
        name: `${String(index)}/${String(caller)}`,
        locks,
      }));
      return { follower, client: scenario.client({ hosts: [follower.endpoint, leader.endpoint], callers: bursts }) };
    });
    await Promise.all(clients.map(({ client }) => client.reached('burst', callers)));

    for (const { follower, client } of clients) {
      await scenario.fault('follower frozen', follower.name, () => follower.freeze());
      await client.go();
      await client.reached('burst', 2 * callers);
      follower.thaw();
      await waitUntilHealthy(follower.endpoint);
    }

    await sleep(500);
    const ghosts = await stage.etcd.entries();
    expect(ghosts).toEqual([]);
    expect((await scenario.end()).locks).toBe(processes * callers * (locks + 1));
  });

  test('that is frozen for longer than the TTL stops nobody, be it a follower or the leader', async () => {
    const ttlMs = 2_000;
    // Woken, the leader may revoke leases that are alive (docs/guarantees.md, 2): who held learns of it with the next beat.
    const mostOverlapMs = ttlMs / 3 + 1_000;
    await using scenario = new Scenario('member frozen for longer than the TTL', stage, { ttlMs, mostOverlapMs });
    for (const member of stage.server.members) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [turns, keep('kept')] });
    }
    await scenario.progress(10);

    const [follower] = await followers();
    for (const member of [follower, await stage.server.leader()]) {
      if (member === undefined) throw new RangeError('there is no follower');
      await scenario.fault('member frozen', member.name, () => member.freeze());
      await Promise.all([sleep(ttlMs + 1_000), scenario.progress(10)]);
      member.thaw();
      await scenario.progress(10);
    }

    await scenario.end();
  });

  test('that is cut off from the quorum costs no lock of those that talk to it', async () => {
    await using scenario = new Scenario('our member cut off from the quorum', stage, { ttlMs: 6_000 });
    const [follower] = await followers();
    const leader = await stage.server.leader();
    if (follower === undefined) throw new RangeError('there is no follower');
    for (const [index, member] of [follower, leader].entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [turns, keep(`kept${String(index)}`)] });
    }
    await scenario.progress(10);

    for (const member of [follower, leader]) {
      await scenario.fault('member cut off', member.name, () => stage.server.isolate(member));
      await Promise.all([sleep(2_000), scenario.progress(10)]);
      stage.server.rejoin();
      await waitUntilHealthy(member.endpoint);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('after the other is restarted under load, and no lock is lost', async () => {
    await using scenario = new Scenario('rolling restart', stage, { ttlMs: 6_000 });
    for (const [index, member] of stage.server.members.entries()) {
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [turns, keep(`kept${String(index)}`)] });
    }
    await scenario.progress(10);

    for (const member of stage.server.members) {
      await scenario.fault('member restarted', member.name, () => member.terminate());
      await scenario.progress(5);
      await member.start();
      await scenario.progress(5);
    }

    const { losses } = await scenario.end();
    expect(losses).toBe(0);
    await eventually(async () => {
      expect(await stage.etcd.entries()).toEqual([]);
    });
  });
});
