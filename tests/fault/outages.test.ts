/** Outages: all members are killed or frozen at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, restoreCluster, Scenario, type Client } from './scenario.ts';

const lockLoop: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }] };
/** The time from the start of all members to the election of a leader. */
const startMs = 4_000;

describe.skipIf(!(await canControlServers()))('all members', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterEach(() => restoreCluster(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  const killAll = () => Promise.all(stage.server.members.map((member) => member.kill()));
  /** Starts a client for each member. One client keeps a name for which another one waits. */
  const startClients = (scenario: Scenario): Client[] =>
    stage.server.members.map((member, index) => {
      const kept: Work = { work: 'keep', name: index === 0 ? 'kept' : `kept${String(index)}` };
      const waiting: Work[] = index === 1 ? [{ work: 'keep', name: 'kept' }] : [];
      return scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, kept, ...waiting] });
    });

  test('cost no lock when they are down for less than the TTL', async () => {
    await using scenario = new Scenario('all servers down for less than the TTL', stage, { ttlMs: 9_000, outageMs: 1_500 + startMs });
    startClients(scenario);
    await scenario.waitForLocks(15);

    await scenario.fault('all killed', 'cluster', killAll);
    await sleep(1_500);
    await restoreCluster(stage.server);
    await scenario.waitForLocks(15);

    expect((await scenario.end()).losses).toBe(0);
  });

  test.each([
    ['down', killAll],
    ['frozen', () => Promise.all(stage.server.members.map((member) => member.freeze()))],
  ] as const)(
    'that are %s for more than the TTL: every holder notices its loss in time, and all clients recover',
    async (how, startOutage) => {
      const [ttlMs, awayMs] = [2_000, 4_000];
      await using scenario = new Scenario(`all servers ${how} for more than the TTL`, stage, { ttlMs, outageMs: awayMs + startMs });
      const clients = startClients(scenario);
      await scenario.waitForLocks(15);

      await scenario.fault(`all ${how}`, 'cluster', startOutage);
      await sleep(awayMs);
      const losses = clients.reduce((sum, client) => sum + client.count('lost'), 0);
      await restoreCluster(stage.server);
      await scenario.waitForLocks(25);

      // During the outage the three holders that keep a name learn of their loss by their own clocks.
      expect(losses).toBeGreaterThanOrEqual(3);
      await scenario.end();
    },
  );
});
