/** Tests that holders, waiters and watches continue after an outage of etcd. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { canControlServers, startTcpProxy, type EtcdMember } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, memberOf, openStage } from '../support/fixtures/etcd-stage.ts';

const outageMs = 3_000;

const outages: Record<string, (member: EtcdMember) => Promise<void>> = {
  'is stopped and started again': async (member) => {
    // With open watch streams, etcd takes some seconds to stop.
    await Promise.all([member.terminate(), sleep(outageMs)]);
    await member.start();
  },
  'is killed and started again with its data': async (member) => {
    await member.kill();
    await sleep(outageMs);
    await member.start();
  },
  hangs: async (member) => {
    await member.freeze();
    await sleep(outageMs);
    member.thaw();
  },
};

// Concurrent, because each test has its own server and mostly waits.
describe.skipIf(!(await canControlServers()))('holders and waiters keep their entries', { concurrent: true }, () => {
  test.each(Object.keys(outages))('when etcd %s', async (outage) => {
    await using stage = await openStage();
    // Looks and renewals time out in the outage. Outside of it, this is enough on a busy machine.
    const create = () => stage.createLocker({ requestTimeoutMs: 2_000 });
    const [holders, waiters, observers] = [create(), create(), create()];
    const lock = await holders.lock('x');
    const remote = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    const local = follow(holders.lock('x'));
    const [, queued] = await stage.etcd.entries('x');
    const states: string[][] = [];
    const watching = (async () => {
      for await (const state of observers.watch('x')) states.push(state.holders.map(({ key }) => key));
    })();
    await eventually(() => {
      expect(states).not.toEqual([]);
    });

    await outages[outage]?.(memberOf(stage.server));
    await stage.queued('x', 2);

    expect(lock.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
    expect([remote.isSettled, local.isSettled]).toEqual([false, false]);
    await lock.release();
    const next = await remote.promise;
    expect(next.fencingToken).toBe(queued?.createRevision);
    expect(next.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
    await next.release();
    const last = await local.promise;
    expect(last.fencingToken).toBeGreaterThan(next.fencingToken);
    await eventually(() => {
      expect(states.at(-1)).toEqual([last.key]);
    });
    await last.release();
    await eventually(() => {
      expect(states.at(-1)).toEqual([]);
    });
    expect(states.at(0)).toEqual([lock.key]);
    await observers.close();
    await watching;
  });

  test('when each response of etcd takes 150 ms', async () => {
    await using stage = await openStage();
    await using proxy = await startTcpProxy(stage.server.endpoint);
    await using slow = createLocker({ hosts: proxy.endpoint, ttlMs: 3_000 });
    proxy.delay(75);
    const lock = await slow.lock('x');
    const waiting = follow(slow.lock('x'));

    await sleep(4_000);

    expect(lock.held).toBe(true);
    expect(waiting.isSettled).toBe(false);
    await lock.release();
    expect((await waiting.promise).held).toBe(true);
  });
});
