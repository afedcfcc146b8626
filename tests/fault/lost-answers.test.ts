/** Requests that etcd applies, but whose responses are lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster, type TcpProxy } from '../support/etcd/etcd.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { Scenario } from './scenario.ts';

const rounds = 3;

describe.skipIf(!(await canControlServers()))('a lost response', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  let proxies: TcpProxy[];
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  beforeEach(async () => {
    proxies = await Promise.all(stage.server.endpoints.map((endpoint) => startTcpProxy(endpoint)));
  });
  afterEach(() => Promise.all(proxies.map((proxy) => proxy.close())));
  afterAll(() => stage[Symbol.asyncDispose]());

  const hosts = () => proxies.map(({ endpoint }) => endpoint);
  /** Closes the connections, so that the responses that were held back are lost. */
  const dropResponses = async (chosen: readonly TcpProxy[]): Promise<void> => {
    for (const proxy of chosen) {
      await proxy.cut();
      proxy.resume();
      await proxy.restore();
    }
  };
  const proxyAt = (index: number): TcpProxy => {
    const proxy = proxies[index % proxies.length];
    if (proxy === undefined) throw new RangeError('Cannot find a proxy: none was started');
    return proxy;
  };

  test('to a put makes one entry and one lock', async () => {
    await using scenario = new Scenario('put response lost', stage, { ttlMs: 6_000 });
    const client = scenario.client({ hosts: hosts(), callers: [{ work: 'steps', name: 'x' }] });
    await client.go();
    await client.waitFor('certain');
    await client.go();
    await client.waitFor('released');

    for (let round = 0; round < rounds; round += 1) {
      // After each failure the locker uses the next host.
      await scenario.fault('put response lost', `m${String((round % 3) + 1)}`, () => {
        proxyAt(round).hangResponses();
      });
      await client.go();
      await stage.queued('x', 1);
      const [entry] = await stage.etcd.entries('x');
      await dropResponses([proxyAt(round)]);
      const { holds } = await client.waitFor('held', round + 2);
      expect(holds).toMatchObject([{ name: 'x', token: String(entry?.createRevision) }]);
      expect(await stage.etcd.entries('x')).toHaveLength(1);
      await client.go();
      await client.waitFor('released', round + 2);
      expect(await stage.etcd.entries('x')).toEqual([]);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('to a release deletes no later entry of the name', async () => {
    await using scenario = new Scenario('release response lost, name locked again', stage, { ttlMs: 8_000, requestTimeoutMs: 3_000 });
    const client = scenario.client({ hosts: hosts(), callers: [{ work: 'steps', name: 'x' }] });
    const other = scenario.client({ callers: [{ work: 'steps', name: 'x' }] });

    for (let round = 0; round < rounds; round += 1) {
      await client.go();
      await client.waitFor('added', 2 * round + 1);
      await scenario.fault('release response lost', 'all', () => {
        for (const proxy of proxies) proxy.hangResponses();
      });
      await client.go();
      await eventually(async () => {
        expect(await stage.etcd.entries('x')).toEqual([]);
      });
      await other.go();
      const { holds } = await other.waitFor('held', round + 1);
      // The first try of the release times out, and the release is sent again.
      await sleep(1_000);
      await dropResponses(proxies);
      await client.waitFor('released', 2 * round + 1);
      await client.go();
      await stage.queued('x', 2);

      expect(String((await stage.etcd.entries('x'))[0]?.createRevision)).toBe(holds[0]?.token);
      await other.go();
      await client.waitFor('added', 2 * round + 2);
      await client.go();
      await client.waitFor('released', 2 * round + 2);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('costs nothing under load', async () => {
    await using scenario = new Scenario('responses lost under load', stage, { ttlMs: 4_000 });
    const work: Work = {
      work: 'loop',
      choices: [
        { names: ['x'], counts: true },
        { names: ['y'], counts: true },
      ],
      pauseMs: 5,
    };
    for (let first = 0; first < 4; first += 1) {
      scenario.client({
        hosts: [proxyAt(first), proxyAt(first + 1), proxyAt(first + 2)].map(({ endpoint }) => endpoint),
        callers: [work, work],
        seed: first,
      });
    }
    await scenario.waitForLocks(20);

    for (let round = 0; round < 12; round += 1) {
      await scenario.fault('responses lost', `m${String((round % 3) + 1)}`, () => {
        proxyAt(round).hangResponses();
      });
      await sleep(100 + 100 * (round % 4));
      await dropResponses([proxyAt(round)]);
      await scenario.waitForLocks(3);
    }

    await scenario.end();
  });
});
