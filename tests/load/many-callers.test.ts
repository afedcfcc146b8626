import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';
import { judgeHolds } from './judge.ts';
import { isLong, report } from './report.ts';

const processes = 10;
const lockers = isLong ? 50 : 10; // in each process
const callers = 10; // of each locker
const total = processes * lockers * callers;

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

test(
  'callers in 10 processes that wait for one name get it one at a time and in the order in which they came',
  { timeout: 180_000 },
  async () => {
    const holder = await stage.createLocker({ ttlMs: 60_000 }).lock('hot');
    const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, ttlMs: 60_000, name: 'hot', times: callers, count: lockers };
    const file = fileURLToPath(new URL('workers/many-callers.ts', import.meta.url));
    const workers = Array.from({ length: processes }, () => new TestProcess(process.execPath, [file, JSON.stringify(settings)]));
    // Of the callers of one locker the first has an entry.
    const gathering = await timed(
      eventually(async () => {
        expect(await stage.etcd.entries('hot')).toHaveLength(processes * lockers + 1);
      }, 60_000),
    );
    expect(gathering.error).toBeUndefined();
    const queue = (await stage.etcd.entries('hot')).slice(1).map(({ createRevision }) => createRevision);

    const draining = await timed(holder.release().then(() => Promise.all(workers.map(({ ended }) => ended))));

    const turns = workers
      .flatMap(({ steps }, worker) =>
        steps
          .filter(({ step }) => step === 'turn')
          .map((turn) => ({
            ...{ name: 'hot', kind: 'exclusive', slots: 1, token: BigInt(String(turn['token'])) },
            ...{ fromMs: Number(turn['fromMs']), untilMs: Number(turn['untilMs']), wasHeld: turn['wasHeld'] },
            ...{ locker: `${String(worker)}/${String(turn['locker'])}`, caller: Number(turn['caller']) },
          })),
      )
      .sort((a, b) => (a.token < b.token ? -1 : 1));
    report(`${String(total)} callers on one name`, {
      'gathered in ms': gathering.ms,
      'drained in ms': draining.ms,
      'turns/s': (1_000 * turns.length) / draining.ms,
    });
    expect(draining.value).toEqual(workers.map(() => ({ code: 0, signal: null, stderr: '' })));
    expect(turns.filter(({ wasHeld }) => wasHeld === true)).toHaveLength(total);
    expect(judgeHolds(turns)).toEqual([]);
    // Those that stood in etcd's queue get it in that queue's order.
    expect(turns.slice(0, queue.length).map(({ token }) => token)).toEqual(queue);
    // A release takes the next caller of the locker to the back of the queue, so the lockers go round and round, each with its callers in turn.
    const round = turns.slice(0, processes * lockers).map(({ locker }) => locker);
    for (const [index, { locker, caller }] of turns.entries()) {
      expect([locker, caller]).toEqual([round[index % round.length], Math.floor(index / round.length)]);
    }
  },
);
