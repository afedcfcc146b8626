/** Leaders that are killed, and leaders that are frozen and no longer lead when they wake. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, restoreCluster, Scenario } from './scenario.ts';

const lockLoop: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }] };

describe.skipIf(!(await canControlServers()))('a leader', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterEach(() => restoreCluster(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  test('costs no held lock when it is killed three times', async () => {
    await using scenario = new Scenario('leader killed', stage, { ttlMs: 6_000 });
    const clients = stage.server.members.map((member, index) =>
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, { work: 'keep', name: `kept${String(index)}` }] }),
    );
    await scenario.waitForLocks(10);

    for (let round = 0; round < 3; round += 1) {
      const leader = await stage.server.leader();
      await scenario.fault('leader killed', leader.name, () => leader.kill());
      await scenario.waitForLocks(10);
      await leader.start();
    }

    const { losses } = await scenario.end();
    expect(losses).toBe(0);
    expect(clients.map((client) => client.count('killed'))).toEqual([0, 0, 0]);
  });

  test('makes no second holder by its old state when it is frozen and woken again and again', async () => {
    await using scenario = new Scenario('leader frozen and woken', stage, { ttlMs: 6_000, outageMs: 2_000 });
    // Two processes for each member. Each process uses this member alone.
    for (const { endpoint } of [...stage.server.members, ...stage.server.members])
      scenario.client({ hosts: [endpoint], callers: [lockLoop] });
    await scenario.waitForLocks(12);

    for (let round = 0; round < 6; round += 1) {
      const leader = await stage.server.leader();
      await scenario.fault('leader frozen', leader.name, () => leader.freeze());
      await stage.server.leader();
      // Wakes before the leases expire in its memory. So it would renew them, and does not revoke them (docs/guarantees.md, 2).
      await sleep((round % 3) * 800);
      leader.thaw();
      await scenario.waitForLocks(3);
    }

    await scenario.end();
  });
});
