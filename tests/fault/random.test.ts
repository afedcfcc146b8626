/**
 * Random kinds of locks, clients and faults from a seed. `FAULT=long` continues with new seeds until it is ended or finds a violation.
 * `FAULT_SEED=n` runs one seed. Servers and processes run in real time, so a seed gives the same faults at the same clients, but not
 * the same interleaving. Repeat a seed that fails.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../simulation/prng.ts';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster, type TcpProxy } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import { ClusterFaults } from './cluster-faults.ts';
import type { Choice, Work } from './plan.ts';
import { restoreCluster, Scenario, type Client } from './scenario.ts';

const isLong = process.env['FAULT'] === 'long';
const givenSeed = process.env['FAULT_SEED'];
const firstSeed = givenSeed !== undefined ? Number(givenSeed) : isLong ? Math.floor(Math.random() * 1e9) : 20_261_125;
const chaosMs = isLong ? 60_000 : 20_000;
const ttlMs = 3_000;
/** Two faults in a row may leave no time to acquire or renew a lock in between. */
const outageMs = 12_000;
const processes = 4;

const choices: readonly Choice[] = [
  { names: ['x'], counts: true },
  { names: ['y'], counts: true },
  { names: ['x'], counts: true, isTry: true },
  { names: ['y'], counts: true, timeoutMs: 300 },
  { names: ['both'] },
  { names: ['both'], mode: 'shared' },
  { names: ['both'], mode: 'shared' },
  { names: ['three'], slots: 3 },
  { names: ['three'], slots: 3 },
  { names: ['x', 'y', 'z'] },
  { names: ['z', 'y'], isTry: true },
];

describe.skipIf(!(await canControlServers()))('random kinds of locks and random faults', () => {
  let stage: Stage<EtcdCluster>;
  let proxies: TcpProxy[];
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { ...timing, isolable: true }));
  });
  beforeEach(async () => {
    proxies = await Promise.all(stage.server.endpoints.map((endpoint) => startTcpProxy(endpoint)));
  });
  afterEach(async () => {
    await restoreCluster(stage.server);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  test('break no promise', { timeout: isLong ? 0 : 120_000 }, async () => {
    for (let seed = firstSeed; ; seed += 1) {
      console.log(
        `Faults of seed ${String(seed)}, repeat with: FAULT_SEED=${String(seed)}${isLong ? ' FAULT=long' : ''} npm run test:fault -- random`,
      );
      const figures = await runSeed(seed);
      expect(figures.locks).toBeGreaterThan(50);
      if (!isLong || givenSeed !== undefined) return;
      console.log(figures);
    }
  });

  async function runSeed(seed: number) {
    const random = new Prng(seed);
    const allowedCodes = ['ETCD_UNAVAILABLE', 'LOCK_LOST'];
    await using scenario = new Scenario(`random faults, seed ${String(seed)}`, stage, { ttlMs, outageMs, allowedCodes });
    const lockLoop: Work = { work: 'loop', choices, holdMs: 30, pauseMs: 10 };
    const [first = '', ...rest] = proxies.map(({ endpoint }) => endpoint);
    let started = 0;
    const start = (): Client => {
      const hosts = started % 2 === 0 ? [first, ...rest] : [...rest, first];
      return scenario.client({ hosts, callers: [lockLoop, lockLoop, { work: 'watch', name: 'x' }], seed: seed + (started += 1) });
    };
    const clients = Array.from({ length: processes }, start);
    await scenario.waitForLocks(20);

    const until = performance.now() + chaosMs;
    const faults = new ClusterFaults(scenario, proxies, random.fork('cluster'));
    const injectClusterFaults = async (): Promise<void> => {
      while (performance.now() < until || !faults.isRoundComplete) await faults.next();
      isOver = true;
    };
    let isOver = false;
    const injectClientFaults = async (): Promise<void> => {
      const mine = random.fork('clients');
      while (!isOver) {
        const at = mine.integer(0, clients.length - 1);
        const client = clients[at];
        await sleep(mine.between(500, 2_500));
        if (client === undefined) continue;
        if (mine.chance(0.3)) {
          await scenario.fault('process killed', client.id, () => client.kill());
          clients[at] = start();
          continue;
        }
        await scenario.fault('process frozen', client.id, () => {
          client.freeze();
        });
        await sleep(mine.skewed(100, 2 * ttlMs));
        client.wake();
      }
    };
    await Promise.all([injectClusterFaults(), injectClientFaults()]);
    await restoreCluster(stage.server);

    // After the faults all clients continue.
    await scenario.waitForLocks(40);
    return await scenario.end();
  }
});
