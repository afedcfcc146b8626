/** Holders whose process is frozen or killed. */
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

  test('knows at its first statement after a freeze past its TTL that it lost the lock, and cannot write with its guard', async () => {
    await using scenario = new Scenario('holder frozen past its TTL', stage, { ttlMs });
    const names = ['x', 'y', 'z'];
    const holders = names.map((name) => scenario.client({ callers: [{ work: 'spin', name }] }));
    await Promise.all(holders.map((holder) => holder.waitFor('certain')));
    const waiters = scenario.client({
      callers: names.map((name): Work => ({ work: 'loop', choices: [{ names: [name], counts: true }], holdMs: 500 })),
    });
    await waiters.waitFor('requested', names.length);
    await sleep(300); // meanwhile the holders read their counters

    for (const holder of holders)
      await scenario.fault('holder frozen', holder.id, () => {
        holder.freeze();
      });
    await waiters.waitFor('added', 2 * names.length);
    await sleep(ttlMs); // a busy loop of the holder detects a stop of a TTL
    for (const holder of holders) holder.wake();

    for (const holder of holders) {
      expect(await holder.waitFor('lost')).toMatchObject({ reason: 'expired', aborted: true });
      expect(await holder.waitFor('added')).toMatchObject({ outcome: 'refused', before: 0 });
      // It was certain before the freeze, and never again.
      const certain = holder.events.filter(({ step }) => step === 'certain');
      expect(certain).toHaveLength(1);
    }
    const { refusedWrites, losses } = await scenario.end();
    expect([refusedWrites, losses]).toEqual([names.length, names.length]);
  });

  test('never holds beside another when it is frozen again and again', async () => {
    await using scenario = new Scenario('holders frozen at random times', stage, { ttlMs });
    const work: Work = {
      work: 'loop',
      choices: [
        { names: ['x'], counts: true },
        { names: ['y'], counts: true },
      ],
      holdMs: 60,
      pauseMs: 1,
    };
    const clients = Array.from({ length: 3 }, () => scenario.client({ callers: [work, work] }));
    await scenario.waitForLocks(20);

    for (const client of clients) {
      await scenario.fault('process frozen', client.id, () => {
        client.freeze();
      });
      await sleep(ttlMs + 700);
      client.wake();
      await scenario.waitForLocks(5);
    }

    await scenario.end();
  });

  test('is followed by 50 waiters in the order of their entries when it is killed', async () => {
    const [processes, callers] = [5, 10];
    await using scenario = new Scenario('holder killed while 50 wait', stage, { ttlMs: 6_000, requestTimeoutMs: 3_000 });
    const holder = scenario.client({ callers: [{ work: 'keep', name: 'x' }] });
    await holder.waitFor('certain');
    const work: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }], holdMs: 1, pauseMs: 1 };
    const waiters = Array.from({ length: processes }, () => scenario.client({ callers: Array.from({ length: callers }, () => work) }));
    await Promise.all(waiters.map((waiter) => waiter.waitFor('requested', callers)));
    await stage.queued('x', processes * callers + 1);
    const [, ...queue] = await stage.etcd.entries('x');

    await scenario.fault('holder killed', holder.id, () => holder.kill());
    await scenario.waitForLocks(processes * callers);

    const tokens = scenario.history.flatMap((event) => (event.step === 'held' ? event.holds.map(({ token }) => BigInt(token)) : []));
    expect(tokens.slice(1, queue.length + 1)).toEqual(queue.map(({ createRevision }) => createRevision));
    expect(waiters.every(({ locks }) => locks >= callers)).toBe(true);
    expect((await scenario.end()).losses).toBe(0);
  });
});
