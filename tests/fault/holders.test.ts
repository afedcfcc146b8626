/** Processes that hold and are stopped, or die. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { Scenario } from './scenario.ts';

const ttlMs = 2_000;

describe.skipIf(!(await canControlServers()))('a process that holds', { timeout: 60_000 }, () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, timing));
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  test('and is frozen past its TTL knows so at its first statement, and cannot write by its guard', async () => {
    await using scenario = new Scenario('holder frozen past its TTL, a second holds', stage, { ttlMs });
    const names = ['x', 'y', 'z'];
    const holders = names.map((name) => scenario.client({ callers: [{ work: 'spin', name }] }));
    await Promise.all(holders.map((holder) => holder.told('certain')));
    const seconds = scenario.client({
      callers: names.map((name): Work => ({ work: 'turns', choices: [{ names: [name], counts: true }], holdMs: 500 })),
    });
    await seconds.told('asked', names.length);
    await sleep(300); // they have read the counters by now

    for (const holder of holders)
      await scenario.fault('holder frozen', holder.id, () => {
        holder.freeze();
      });
    await seconds.told('added', 2 * names.length);
    await sleep(ttlMs); // by how long it was stopped it sees that it was
    for (const holder of holders) holder.wake();

    for (const holder of holders) {
      expect(await holder.told('lost')).toMatchObject({ reason: 'expired', aborted: true });
      expect(await holder.told('added')).toMatchObject({ outcome: 'refused', before: 0 });
      // What it said before it was stopped is all that it said of being certain.
      const certain = holder.events.filter(({ step }) => step === 'certain');
      expect(certain).toHaveLength(1);
    }
    const { refusedWrites, losses } = await scenario.end();
    expect([refusedWrites, losses]).toEqual([names.length, names.length]);
  });

  test('and is frozen in the middle of its turns never holds beside another', async () => {
    await using scenario = new Scenario('holders frozen in their turns', stage, { ttlMs });
    const work: Work = {
      work: 'turns',
      choices: [
        { names: ['x'], counts: true },
        { names: ['y'], counts: true },
      ],
      holdMs: 60,
      pauseMs: 1,
    };
    const clients = Array.from({ length: 3 }, () => scenario.client({ callers: [work, work] }));
    await scenario.progress(20);

    for (const client of clients) {
      await scenario.fault('process frozen', client.id, () => {
        client.freeze();
      });
      await sleep(ttlMs + 700);
      client.wake();
      await scenario.progress(5);
    }

    await scenario.end();
  });

  test('and is killed is followed by the 50 that wait, in the order in which they came', async () => {
    const [processes, callers] = [5, 10];
    await using scenario = new Scenario('holder killed while 50 wait', stage, { ttlMs: 6_000, requestTimeoutMs: 3_000 });
    const holder = scenario.client({ callers: [{ work: 'keep', name: 'x' }] });
    await holder.told('certain');
    const work: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }], holdMs: 1, pauseMs: 1 };
    const waiters = Array.from({ length: processes }, () => scenario.client({ callers: Array.from({ length: callers }, () => work) }));
    await Promise.all(waiters.map((waiter) => waiter.told('asked', callers)));
    await stage.queued('x', processes * callers + 1);
    const [, ...queue] = await stage.etcd.entries('x');

    await scenario.fault('holder killed', holder.id, () => holder.kill());
    await scenario.progress(processes * callers);

    const tokens = scenario.history.flatMap((event) => (event.step === 'held' ? event.holds.map(({ token }) => BigInt(token)) : []));
    expect(tokens.slice(1, queue.length + 1)).toEqual(queue.map(({ createRevision }) => createRevision));
    expect(waiters.every(({ locks }) => locks >= callers)).toBe(true);
    expect((await scenario.end()).losses).toBe(0);
  });
});
