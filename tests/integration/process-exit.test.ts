/** Tests when a process ends by itself, and when a locker keeps it alive. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locker } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { memberOf, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker } from '../support/run/processes.ts';

const canControl = await canControlServers();
let stage: Stage<EtcdServer>;
let locker: Locker;
beforeAll(async () => {
  stage = await openStage();
  locker = stage.createLocker();
});
afterAll(() => stage[Symbol.asyncDispose]());

const startScenario = (scenario: string, name: string) =>
  startWorker('end.ts', { hosts: stage.server.endpoint, prefix: stage.prefix, name, ttlMs: 2_000, scenario });
const cleanExit = { code: 0, signal: null, stderr: '' };

describe('a process that forgets close() ends by itself', { concurrent: true }, () => {
  test.each([
    'never used',
    'a lock released',
    'a lock kept after its release',
    'a lock held and never released',
    'a lock held whose wanted has a listener',
    'a lock kept',
    'a lock acquired after waiting and never released',
    'a tryLock() that found the lock taken',
    'a watch ended',
    'a lock() that timed out',
  ])('when its work is done: %s', async (scenario) => {
    const isTaken = /taken|waiting|timed out/.test(scenario);
    await using held = isTaken ? await locker.lock(scenario) : undefined;
    await using process = startScenario(scenario, scenario);
    if (scenario.includes('waiting')) {
      await stage.queued(scenario, 2);
      await held?.release();
    }
    await process.reached('done');
    const doneAt = performance.now();

    const ending = await process.ended;

    expect(ending).toEqual(cleanExit);
    expect(performance.now() - doneAt).toBeLessThan(3_000);
    if (scenario.includes('timed out')) expect(process.steps).toContainEqual({ step: 'rejected', code: 'LOCK_TIMEOUT' });
  });
});

test.skipIf(!canControl)('a process that only holds ends by itself when etcd hangs', async () => {
  await using own = await openStage();
  const member = memberOf(own.server);
  const ttlMs = 6_000;
  await using process = startWorker('end.ts', {
    hosts: own.server.endpoint,
    prefix: own.prefix,
    name: 'x',
    ttlMs,
    scenario: 'a lock held until a signal',
  });
  await process.reached('holding');
  await member.freeze();
  // The process may end after the signal. A renewal is pending then, and grpc keeps the process alive until that call ends.
  // A later renewal must not keep it alive.
  await sleep(2_500);
  process.signal('SIGUSR2');
  await process.reached('done');
  const doneAt = performance.now();

  const ending = await process.ended;

  expect(ending).toEqual(cleanExit);
  expect(performance.now() - doneAt).toBeLessThan(ttlMs / 3 + 700);
});

describe('a process that runs a function under a lock', { concurrent: true }, () => {
  test.each([
    ['withLock() until the loss', [{ step: 'rejected', code: 'LOCK_LOST' }]],
    ['lead() until the second term', [{ step: 'holding' }]],
  ])('stays alive while nothing else keeps it alive: %s', async (scenario, last) => {
    await using process = startScenario(scenario, scenario);
    await process.reached('holding');
    await sleep(1_500);
    expect(process.isRunning).toBe(true);

    const [entry] = await stage.etcd.entries(scenario);
    await stage.etcd.delete(entry?.key ?? '');

    expect(await process.ended).toEqual(cleanExit);
    expect(process.steps).toEqual([{ step: 'working' }, { step: 'holding' }, ...last, { step: 'done' }]);
  });

  test('stays alive in close() with drainMs until its function has ended', async () => {
    await using process = startScenario('close() with drainMs', 'drained');

    expect(await process.ended).toEqual(cleanExit);
    expect(process.steps.slice(1)).toEqual([{ step: 'holding' }, { step: 'closed' }, { step: 'done' }]);
  });
});

describe('a process that waits in lock()', { concurrent: true }, () => {
  test('stays alive in the queue of etcd until it holds the lock', async () => {
    const held = await locker.lock('x');
    await using process = startScenario('a lock() in the queue of etcd', 'x');
    await stage.queued('x', 2);
    await sleep(2_500);
    expect(process.isRunning).toBe(true);
    expect(process.steps).toEqual([{ step: 'working' }]);

    await held.release();

    expect(await process.ended).toEqual(cleanExit);
    expect(process.steps.slice(1)).toEqual([{ step: 'holding', held: true }, { step: 'done' }]);
  });

  test('stays alive in the local queue until it holds the lock', async () => {
    await using process = startScenario('a lock() in the local queue', 'y');

    expect(await process.ended).toEqual(cleanExit);
    expect(process.steps.slice(1)).toEqual([{ step: 'releasing' }, { step: 'holding', held: true }, { step: 'done' }]);
  });
});
