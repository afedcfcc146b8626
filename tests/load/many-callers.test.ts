/** Many processes wait for one name: every caller is served once, in the order of the queue. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';
import { judgeHolds } from './judge.ts';
import { isLong, report } from './report.ts';

const processes = 10;
const lockers = isLong ? 50 : 10; // of each process
const callers = 10; // of each locker
const total = processes * lockers * callers;

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

test('callers in 10 processes get one name one at a time and in the order of their entries', { timeout: 180_000 }, async () => {
  const holder = await stage.createLocker({ ttlMs: 60_000 }).lock('hot');
  const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, ttlMs: 60_000, name: 'hot', times: callers, count: lockers };
  const file = fileURLToPath(new URL('workers/many-callers.ts', import.meta.url));
  const workers = Array.from({ length: processes }, () => new TestProcess(process.execPath, [file, JSON.stringify(settings)]));
  // Only the first caller of each locker has an entry.
  const queueing = await timed(
    eventually(async () => {
      expect(await stage.etcd.entries('hot')).toHaveLength(processes * lockers + 1);
    }, 60_000),
  );
  expect(queueing.error).toBeUndefined();
  const queue = (await stage.etcd.entries('hot')).slice(1).map(({ createRevision }) => createRevision);

  const draining = await timed(holder.release().then(() => Promise.all(workers.map(({ ended }) => ended))));

  const holds = workers
    .flatMap(({ steps }, worker) =>
      steps
        .filter(({ step }) => step === 'hold')
        .map((hold) => ({
          ...{ name: 'hot', kind: 'exclusive', slots: 1, token: BigInt(String(hold['token'])) },
          ...{ fromMs: Number(hold['fromMs']), untilMs: Number(hold['untilMs']), wasHeld: hold['wasHeld'] },
          ...{ locker: `${String(worker)}/${String(hold['locker'])}`, caller: Number(hold['caller']) },
        })),
    )
    .sort((a, b) => (a.token < b.token ? -1 : 1));
  report(`${String(total)} callers on one name`, {
    'queued in ms': queueing.ms,
    'drained in ms': draining.ms,
    'holds per second': (1_000 * holds.length) / draining.ms,
  });
  expect(draining.value).toEqual(workers.map(() => ({ code: 0, signal: null, stderr: '' })));
  expect(holds.filter(({ wasHeld }) => wasHeld === true)).toHaveLength(total);
  expect(judgeHolds(holds)).toEqual([]);
  // The first callers are served in the order of etcd's queue.
  expect(holds.slice(0, queue.length).map(({ token }) => token)).toEqual(queue);
  // A release moves the next caller of the locker to the end of the queue. So the lockers alternate, and each serves its callers in order.
  const round = holds.slice(0, processes * lockers).map(({ locker }) => locker);
  for (const [index, { locker, caller }] of holds.entries()) {
    expect([locker, caller]).toEqual([round[index % round.length], Math.floor(index / round.length)]);
  }
});
