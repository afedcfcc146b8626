import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster, type TcpProxy } from '../support/etcd/etcd.ts';
import { expectNothingLeft, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';
import { injectFaults } from './faults.ts';
import type { Hold } from './hold.ts';
import { judgeHolds, judgeMemory } from './judge.ts';
import { isLong, report } from './report.ts';

const durationMs = isLong ? 120_000 : 20_000;
/** Code is compiled and buffers grow to their size before anything is weighed. */
const warmUpMs = isLong ? 10_000 : 4_000;
/** 1.5 KB kept of each make more than a tenth of the heap. */
const leastTurns = 2_000;

/** Long enough for a fault after the other on a machine that is busy with other tests: what is meant here is not the loss in an outage. */
const ttlMs = 30_000;

const worker = fileURLToPath(new URL('workers/mixed.ts', import.meta.url));

describe.skipIf(!(await canControlServers()))('mixed load', () => {
  let stage: Stage<EtcdCluster>;
  let proxies: TcpProxy[];
  beforeAll(async () => {
    stage = stageOn(await startCluster());
    proxies = await Promise.all(stage.server.endpoints.map((endpoint) => startTcpProxy(endpoint)));
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    await Promise.all(proxies.map((proxy) => proxy.close()));
  });

  /** All processes to their end; faults meanwhile, if they are wanted. */
  async function run({ processes, ms, warmUp, planted, withFaults }: Plan) {
    const hosts = proxies.map(({ endpoint }) => endpoint);
    const settings = { hosts, prefix: stage.prefix, ttlMs, times: ms, warmUpMs: warmUp, leastTurns, scenario: planted };
    const workers = Array.from(
      { length: processes },
      () => new TestProcess(process.execPath, ['--expose-gc', worker, JSON.stringify(settings)]),
    );
    await Promise.all(workers.map((one) => one.reached('started')));
    const over = new AbortController();
    const faulty = withFaults ? injectFaults(stage.server, proxies, over.signal) : Promise.resolve({});
    const endings = await Promise.all(workers.map(({ ended }) => ended));
    over.abort();
    const faults = await faulty;
    expect(endings).toEqual(workers.map(() => ({ code: 0, signal: null, stderr: '' })));
    const steps = workers.flatMap((one) => one.steps);
    const figures = steps.filter(({ step }) => step === 'done') as unknown as Figures[];
    return {
      faults,
      figures,
      holds: steps.filter(({ step }) => step === 'hold').map(toHold),
      failed: steps.filter(({ step }) => step === 'failed'),
    };
  }

  test('of all kinds, with faults, lets nobody in twice, fails nobody and leaves memory flat', { timeout: 300_000 }, async () => {
    const { faults, figures, holds, failed } = await run({ processes: 2, ms: durationMs, warmUp: warmUpMs, planted: '', withFaults: true });

    for (const { step, early, late, ...counts } of figures) {
      report(`mixed load ${step}`, { ...counts, 'heap in MiB': `${(early / 2 ** 20).toFixed(2)} then ${(late / 2 ** 20).toFixed(2)}` });
    }
    report('faults', faults);
    expect(failed).toEqual([]);
    expect(judgeHolds(holds)).toEqual([]);
    for (const one of figures) {
      expect(judgeMemory(one)).toEqual([]);
      expect(one['lost']).toBeUndefined();
      for (const what of [
        'lock',
        'lockAll',
        'tryLock',
        'lock or timeout',
        'lock or timeout: LockTimeoutError',
        'lock or abort',
        'busy',
        'states',
      ]) {
        expect(one[what], what).toBeGreaterThan(0);
      }
    }
    expect(Object.keys(faults)).toHaveLength(6);
    await expectNothingLeft(stage.etcd);
  });

  test(
    'is found out where a worker keeps 1.5 KB of each turn, and does under one lock what needs another',
    { timeout: 90_000 },
    async () => {
      const { figures, holds } = await run({ processes: 1, ms: 2_000, warmUp: 1_000, planted: 'planted', withFaults: false });

      expect(judgeHolds(holds)).not.toEqual([]);
      expect(figures.flatMap(judgeMemory)).not.toEqual([]);
    },
  );
});

interface Plan {
  readonly processes: number;
  readonly ms: number;
  readonly warmUp: number;
  readonly planted: string;
  readonly withFaults: boolean;
}

interface Figures {
  readonly step: string;
  readonly early: number;
  readonly late: number;
  readonly [what: string]: number | string;
}

const toHold = (told: Readonly<Record<string, unknown>>): Hold => ({
  name: String(told['name']),
  kind: String(told['kind']),
  slots: Number(told['slots']),
  token: BigInt(String(told['token'])),
  fromMs: Number(told['fromMs']),
  untilMs: Number(told['untilMs']),
});
