/** All kinds of calls under faults: the judges find no overlap, no failed call and no growing heap. */
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
/** The warm-up. V8 compiles the code and buffers reach their size before memory is measured. */
const warmUpMs = isLong ? 10_000 : 4_000;
/** With this number of calls, a leak of 1.5 KB per call is more than a tenth of the heap. */
const minCalls = 2_000;

/** Longer than a series of faults on a machine that is busy with other tests, because this test is not about losses. */
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

  /** Runs the worker processes to their end, with or without faults. */
  async function run({ processes, ms, warmUp, planted, withFaults }: Plan) {
    const hosts = proxies.map(({ endpoint }) => endpoint);
    const settings = { hosts, prefix: stage.prefix, ttlMs, times: ms, warmUpMs: warmUp, minCalls, scenario: planted };
    const workers = Array.from(
      { length: processes },
      () => new TestProcess(process.execPath, ['--expose-gc', worker, JSON.stringify(settings)]),
    );
    await Promise.all(workers.map((one) => one.reached('started')));
    const stopFaults = new AbortController();
    const injecting = withFaults ? injectFaults(stage.server, proxies, stopFaults.signal) : Promise.resolve({});
    const endings = await Promise.all(workers.map(({ ended }) => ended));
    stopFaults.abort();
    const faults = await injecting;
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

  test('of all kinds under faults has no overlapping holders, no failed call and flat memory', { timeout: 300_000 }, async () => {
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

  test('fails the judges if a worker leaks 1.5 KB per call and works under the wrong lock', { timeout: 90_000 }, async () => {
    const { figures, holds } = await run({ processes: 1, ms: 2_000, warmUp: 1_000, planted: 'planted', withFaults: false });

    expect(judgeHolds(holds)).not.toEqual([]);
    expect(figures.flatMap(judgeMemory)).not.toEqual([]);
  });
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

const toHold = (step: Readonly<Record<string, unknown>>): Hold => ({
  name: String(step['name']),
  kind: String(step['kind']),
  slots: Number(step['slots']),
  token: BigInt(String(step['token'])),
  fromMs: Number(step['fromMs']),
  untilMs: Number(step['untilMs']),
});
