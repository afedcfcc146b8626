/** All members away at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, mend, Scenario, type Client } from './scenario.ts';

const turns: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }] };
/** From the command to start them all until they have a leader. */
const startMs = 4_000;

describe.skipIf(!(await canControlServers()))('all members', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterEach(() => mend(stage.server));
  afterAll(() => stage[Symbol.asyncDispose]());

  const killAll = () => Promise.all(stage.server.members.map((member) => member.kill()));
  /** One of them keeps a name, and another waits for it. */
  const clientsOf = (scenario: Scenario): Client[] =>
    stage.server.members.map((member, index) => {
      const kept: Work = { work: 'keep', name: index === 0 ? 'kept' : `kept${String(index)}` };
      const waiting: Work[] = index === 1 ? [{ work: 'keep', name: 'kept' }] : [];
      return scenario.client({ hosts: hostsFrom(stage.server, member), callers: [turns, kept, ...waiting] });
    });

  test('down for less than the TTL cost no lock', async () => {
    await using scenario = new Scenario('all servers down for less than the TTL', stage, { ttlMs: 9_000, outageMs: 1_500 + startMs });
    clientsOf(scenario);
    await scenario.progress(15);

    await scenario.fault('all killed', 'cluster', killAll);
    await sleep(1_500);
    await mend(stage.server);
    await scenario.progress(15);

    expect((await scenario.end()).losses).toBe(0);
  });

  test.each([
    ['down', killAll],
    ['frozen', () => Promise.all(stage.server.members.map((member) => member.freeze()))],
  ] as const)('%s for more than the TTL: every holder knows in time, and all go on afterwards', async (how, strike) => {
    const [ttlMs, awayMs] = [2_000, 4_000];
    await using scenario = new Scenario(`all servers ${how} for more than the TTL`, stage, { ttlMs, outageMs: awayMs + startMs });
    const clients = clientsOf(scenario);
    await scenario.progress(15);

    await scenario.fault(`all ${how}`, 'cluster', strike);
    await sleep(awayMs);
    const losses = clients.reduce((sum, client) => sum + client.count('lost'), 0);
    await mend(stage.server);
    await scenario.progress(25);

    // While nobody could tell them: the three that kept a name, by their own clocks.
    expect(losses).toBeGreaterThanOrEqual(3);
    await scenario.end();
  });
});
