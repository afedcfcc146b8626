/** Requests that are applied, and whose answers never come. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster, type TcpProxy } from '../support/etcd/etcd.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { Scenario } from './scenario.ts';

const rounds = 3;

describe.skipIf(!(await canControlServers()))('an answer that is lost', { timeout: 60_000 }, () => {
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
  /** What was held back is not delivered but lost with its connection. */
  const lose = async (those: readonly TcpProxy[]): Promise<void> => {
    for (const proxy of those) {
      await proxy.cut();
      proxy.resume();
      await proxy.restore();
    }
  };
  const at = (index: number): TcpProxy => {
    const proxy = proxies[index % proxies.length];
    if (proxy === undefined) throw new RangeError('there is no proxy');
    return proxy;
  };

  test('to a put makes one entry, and one lock', async () => {
    await using scenario = new Scenario('put answer lost', stage, { ttlMs: 6_000 });
    const client = scenario.client({ hosts: hosts(), callers: [{ work: 'steps', name: 'x' }] });
    await client.go();
    await client.told('certain');
    await client.go();
    await client.told('released');

    for (let round = 0; round < rounds; round += 1) {
      // After each failure the locker asks the next host.
      await scenario.fault('put answer lost', `m${String((round % 3) + 1)}`, () => {
        at(round).hangAnswers();
      });
      await client.go();
      await stage.queued('x', 1);
      const [entry] = await stage.etcd.entries('x');
      await lose([at(round)]);
      const { holds } = await client.told('held', round + 2);
      expect(holds).toMatchObject([{ name: 'x', token: String(entry?.createRevision) }]);
      expect(await stage.etcd.entries('x')).toHaveLength(1);
      await client.go();
      await client.told('released', round + 2);
      expect(await stage.etcd.entries('x')).toEqual([]);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('to a release deletes nothing of those that lock the name again', async () => {
    await using scenario = new Scenario('release answer lost, name locked again', stage, { ttlMs: 8_000, requestTimeoutMs: 3_000 });
    const client = scenario.client({ hosts: hosts(), callers: [{ work: 'steps', name: 'x' }] });
    const other = scenario.client({ callers: [{ work: 'steps', name: 'x' }] });

    for (let round = 0; round < rounds; round += 1) {
      await client.go();
      await client.told('added', 2 * round + 1);
      await scenario.fault('release answer lost', 'all', () => {
        for (const proxy of proxies) proxy.hangAnswers();
      });
      await client.go();
      await eventually(async () => {
        expect(await stage.etcd.entries('x')).toEqual([]);
      });
      await other.go();
      const { holds } = await other.told('held', round + 1);
      // It gives up on the first answer, and sends the release again.
      await sleep(1_000);
      await lose(proxies);
      await client.told('released', 2 * round + 1);
      await client.go();
      await stage.queued('x', 2);

      expect(String((await stage.etcd.entries('x'))[0]?.createRevision)).toBe(holds[0]?.token);
      await other.go();
      await client.told('added', 2 * round + 2);
      await client.go();
      await client.told('released', 2 * round + 2);
    }

    expect((await scenario.end()).losses).toBe(0);
  });

  test('now and then, under load, costs nothing', async () => {
    await using scenario = new Scenario('answers lost under load', stage, { ttlMs: 4_000 });
    const work: Work = {
      work: 'turns',
      choices: [
        { names: ['x'], counts: true },
        { names: ['y'], counts: true },
      ],
      pauseMs: 5,
    };
    for (let first = 0; first < 4; first += 1) {
      scenario.client({
        hosts: [at(first), at(first + 1), at(first + 2)].map(({ endpoint }) => endpoint),
        callers: [work, work],
        seed: first,
      });
    }
    await scenario.progress(20);

    for (let round = 0; round < 12; round += 1) {
      await scenario.fault('answers lost', `m${String((round % 3) + 1)}`, () => {
        at(round).hangAnswers();
      });
      await sleep(100 + 100 * (round % 4));
      await lose([at(round)]);
      await scenario.progress(3);
    }

    await scenario.end();
  });
});
