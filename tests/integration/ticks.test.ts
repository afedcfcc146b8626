/** Tests that a job runs once per tick in a fleet of machines whose clocks differ. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker } from '../support/run/processes.ts';

/**
 * The clocks differ by 300 ms, so the last machine tries 300 ms after the first one: less than `minHoldMs`. With an election timeout of
 * 500 ms etcd grants a lease of 1 s, and it ends a lease up to 500 ms late. So the name is free 1.6 s after a tick: before the next one.
 */
const skewsMs = [0, 150, 300];
const minHoldMs = 900;
const intervalMs = 2_500;
const ticks = 20;

const canControl = await canControlServers();
let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage({ heartbeatMs: 50, electionMs: 500 });
});
afterAll(() => stage[Symbol.asyncDispose]());

interface Fleet {
  readonly minHoldMs: number | undefined;
  readonly exits: boolean;
  readonly count: number;
}

/** Runs a machine for each clock. A process that ends before the last tick is followed by another one. Returns the tick of each run. */
async function runFleet(name: string, { count, ...job }: Fleet): Promise<number[]> {
  const first = Math.ceil((Date.now() + 3_000) / intervalMs);
  const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, name, ttlMs: 5_000, intervalMs, first, last: first + count - 1 };
  const runs: number[] = [];
  const runMachine = async (skewMs: number): Promise<void> => {
    for (let isDone = false; !isDone;) {
      const machine = startWorker('tick.ts', { ...settings, ...job, skewMs });
      expect(await machine.ended).toEqual({ code: 0, signal: null, stderr: '' });
      for (const { step, tick } of machine.steps) if (step === 'ran') runs.push(Number(tick) - first);
      isDone = machine.steps.some(({ step }) => step === 'done');
    }
  };
  await Promise.all(skewsMs.map(runMachine));
  return runs.sort((a, b) => a - b);
}

const once = Array.from({ length: ticks }, (_, tick) => tick);

describe.runIf(canControl)('three machines whose clocks differ by 300 ms', { concurrent: true, timeout: 120_000 }, () => {
  test('run a job exactly once at each of 20 ticks with minHoldMs', async () => {
    expect(await runFleet('kept', { minHoldMs, exits: false, count: ticks })).toEqual(once);
  });

  test('run a job exactly once at each of 20 ticks if the process exits as soon as its release is confirmed', async () => {
    expect(await runFleet('exits', { minHoldMs, exits: true, count: ticks })).toEqual(once);
  });

  test('run it more than once at a tick without minHoldMs', async () => {
    const runs = await runFleet('plain', { minHoldMs: undefined, exits: false, count: 5 });

    expect(new Set(runs).size).toBe(5);
    expect(runs.length).toBeGreaterThan(5);
  });
});
