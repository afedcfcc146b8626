/** Compaction and defragmentation of etcd under holders, waiters and watches. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, Scenario } from './scenario.ts';

const lockLoop: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }] };
const watch: Work = { work: 'watch', name: 'x' };

describe.skipIf(!(await canControlServers()))('compaction and defragmentation', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  test('cost no holder, waiter or watch anything', async () => {
    await using scenario = new Scenario('compaction and defragmentation', stage, { ttlMs: 6_000 });
    for (const [index, member] of stage.server.members.entries()) {
      const kept: Work = { work: 'keep', name: index === 2 ? 'kept0' : `kept${String(index)}` };
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: [lockLoop, kept, watch] });
    }
    await scenario.waitForLocks(10);

    for (const endpoint of [...stage.server.endpoints, ...stage.server.endpoints]) {
      await scenario.fault('history compacted', 'cluster', () => stage.etcd.compact());
      await scenario.fault('member defragmented', endpoint, () => stage.etcd.defragment(endpoint));
      await scenario.waitForLocks(5);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('cost nothing during a break of the connection', async () => {
    await using scenario = new Scenario('compaction while connections are cut', stage, { ttlMs: 6_000 });
    const proxies = await Promise.all(stage.server.endpoints.map((endpoint) => startTcpProxy(endpoint)));
    scenario.client({ callers: [lockLoop, lockLoop, { work: 'keep', name: 'kept' }] });
    const cut = scenario.client({
      hosts: proxies.map(({ endpoint }) => endpoint),
      callers: [watch, { work: 'keep', name: 'kept' }, lockLoop],
    });
    await cut.waitFor('state');
    await scenario.waitForLocks(10);

    for (let round = 0; round < 3; round += 1) {
      await scenario.fault('connections cut', 'all', () => Promise.all(proxies.map((proxy) => proxy.cut())));
      await sleep(300);
      await scenario.fault('history compacted', 'cluster', () => stage.etcd.compact());
      await Promise.all(proxies.map((proxy) => proxy.restore()));
      const states = cut.count('state');
      await cut.waitForCount('state', states + 3);
    }

    expect((await scenario.end()).losses).toBe(0);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  });
});
