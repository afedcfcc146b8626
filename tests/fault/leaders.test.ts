/** Leaders that die, and leaders that are frozen and do not know that they lead no more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, mend, Scenario } from './scenario.ts';

const turns: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }] };

describe.skipIf(!(await canControlServers()))('a leader', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterEach(() => mend(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  test('that is killed, three times, costs no lock that is kept', async () => {
    await using scenario = new Scenario('leader killed', stage, { ttlMs: 6_000 });
    const clients = stage.server.members.map((member, index) =>
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [turns, { work: 'keep', name: `kept${String(index)}` }] }),
    );
    await scenario.progress(10);

    for (let round = 0; round < 3; round += 1) {
      const leader = await stage.server.leader();
      await scenario.fault('leader killed', leader.name, () => leader.kill());
      await scenario.progress(10);
      await leader.start();
    }

    const { losses } = await scenario.end();
    expect(losses).toBe(0);
    expect(clients.map((client) => client.count('killed'))).toEqual([0, 0, 0]);
  });

  test('that is frozen and woken again and again lets nobody hold by what it takes for true', async () => {
    await using scenario = new Scenario('leader frozen and woken', stage, { ttlMs: 6_000, outageMs: 2_000 });
    // Each asks one member alone, two processes a member.
    for (const { endpoint } of [...stage.server.members, ...stage.server.members]) scenario.client({ hosts: [endpoint], callers: [turns] });
    await scenario.progress(12);

    for (let round = 0; round < 6; round += 1) {
      const leader = await stage.server.leader();
      await scenario.fault('leader frozen', leader.name, () => leader.freeze());
      await stage.server.leader();
      // Its memory of the leases is not over: so it would renew them, and it does not revoke them (docs/guarantees.md, 2).
      await sleep((round % 3) * 800);
      leader.thaw();
      await scenario.progress(3);
    }

    await scenario.end();
  });
});
