/** Tests that a job runs once per tick in a fleet of machines whose clocks differ. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker } from '../support/run/processes.ts';

/**
 * The clocks differ by 300 ms, so the last machine tries 300 ms after the first one: less than `minHoldMs`, with 1.1 s to spare for late
 * timers. The release after 50 ms makes a lease of 2 s, which etcd ends up to 500 ms late. So the name is free before the next tick.
 */
const skewsMs = [0, 150, 300];
const minHoldMs = 1_400;
const intervalMs = 3_000;
const ticks = 20;

const canControl = await canControlServers();
let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

interface Fleet {
  readonly minHoldMs: number | undefined;
  readonly exits: boolean;
  readonly count: number;
}

/** Runs a machine for each clock. A process that ends before the last tick is followed by another one. Returns the tick of each run. */
async function runFleet(fleet: Fleet): Promise<number[]> {
  const { endpoint } = stage.server;
  // A repeated test needs a free name.
  const settings = { hosts: endpoint, prefix: stage.prefix, name: randomUUID(), ttlMs: 5_000, requestTimeoutMs: 15_000, intervalMs };
  await using processes = new AsyncDisposableStack();
  const startMachine = (skewMs: number) => processes.use(startWorker('tick.ts', { ...settings, ...fleet, skewMs }, { stdin: 'pipe' }));
  const machines = skewsMs.map((skewMs) => ({ skewMs, process: startMachine(skewMs) }));
  // All machines are ready at the first tick, however busy this one is.
  await eventually(() => {
    expect(machines.every(({ process }) => process.steps.some(({ step }) => step === 'ready'))).toBe(true);
  }, 60_000);
  const first = Math.ceil((Date.now() + 500) / intervalMs);
  const runs: number[] = [];
  const follow = async ({ skewMs, process }: (typeof machines)[number]): Promise<void> => {
    process.type(`${String(first)}\n`);
    expect(await process.ended).toEqual({ code: 0, signal: null, stderr: '' });
    for (const { step, tick } of process.steps) if (step === 'ran') runs.push(Number(tick) - first);
    if (!process.steps.some(({ step }) => step === 'done')) await follow({ skewMs, process: startMachine(skewMs) });
  };
  await Promise.all(machines.map(follow));
  return runs.sort((a, b) => a - b);
}

const once = Array.from({ length: ticks }, (_, tick) => tick);

describe.runIf(canControl)('three machines whose clocks differ by 300 ms', { concurrent: true, timeout: 180_000 }, () => {
  test('run a job exactly once at each of 20 ticks with minHoldMs', async () => {
    expect(await runFleet({ minHoldMs, exits: false, count: ticks })).toEqual(once);
  });

  test('run a job exactly once at each of 20 ticks if the process exits as soon as its release is confirmed', async () => {
    expect(await runFleet({ minHoldMs, exits: true, count: ticks })).toEqual(once);
  });

  test('run it more than once at a tick without minHoldMs', async () => {
    const runs = await runFleet({ minHoldMs: undefined, exits: false, count: 5 });

    expect(new Set(runs).size).toBe(5);
    expect(runs.length).toBeGreaterThan(5);
  });
});
