/** Tests of a list of hosts that belong to two clusters. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locker } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { canControlServers, startTcpProxy, type EtcdServer, type TcpProxy } from '../support/etcd/etcd.ts';
import { eventually, lossOf, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const requestTimeoutMs = 1_500;

describe.skipIf(!(await canControlServers()))('hosts of two clusters', () => {
  let first: Stage<EtcdServer>;
  let second: Stage<EtcdServer>;
  let proxy: TcpProxy;
  beforeAll(async () => {
    [first, second] = await Promise.all([openStage(), openStage()]);
  });
  beforeEach(async () => {
    proxy = await startTcpProxy(first.server.endpoint);
  });
  afterEach(async () => {
    await proxy.restore();
    await Promise.all([first.clear(), second.clear()]);
    await proxy.close();
  });
  afterAll(async () => {
    await Promise.all([first[Symbol.asyncDispose](), second[Symbol.asyncDispose]()]);
  });

  const create = (ttlMs: number): Locker => first.createLockerAt([proxy.endpoint, second.server.endpoint], { ttlMs, requestTimeoutMs });

  test('a locker uses no host of another cluster than that of its first response', async () => {
    const [holder, other] = [create(60_000), create(60_000)];
    const lock = await holder.lock('x');
    await (await other.lock('warm')).release();

    await proxy.cut();
    const { error, ms } = await timed(other.inspect('x'));
    await expect(other.lock('x')).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });

    expect(error).toMatchObject({
      code: 'ETCD_UNAVAILABLE',
      hosts: expect.arrayContaining([
        {
          host: second.server.endpoint,
          reason: expect.stringMatching(/^belongs to another cluster: [0-9a-f]+ instead of [0-9a-f]+$/) as string,
        },
      ]) as unknown,
    });
    expect(ms).toBeLessThan(3 * requestTimeoutMs);
    expect(await second.etcd.keys()).toEqual([]);
    expect(lock.held).toBe(true);

    await proxy.restore();
    await lock.release();
    expect((await other.lock('x')).held).toBe(true);
  });

  test('a session is not ended, and a watch reports nothing, by a host of another cluster', async () => {
    const ttlMs = 9_000;
    const [holder, waiter] = [create(ttlMs), create(ttlMs)];
    const lock = await holder.lock('x');
    const waiting = waiter.lock('x');
    await first.queued('x', 2);

    await proxy.cut();
    await sleep(ttlMs / 2); // at least one renewal fails at both hosts
    expect(lock.held).toBe(true);
    await proxy.restore();
    await lock.release();

    expect((await waiting).held).toBe(true);
    expect(await second.etcd.keys()).toEqual([]);
  });

  test('another cluster counts once no host has had the old id for a TTL, and all locks are lost by then', async () => {
    const locker = create(3_000);
    const lock = await locker.lock('x');
    await proxy.cut();

    const { unheldAt } = await lossOf(lock);
    let again = await timed(locker.lock('x'));
    await eventually(async () => {
      if (again.value === undefined) again = await timed(locker.lock('x'));
      expect(again.value?.held).toBe(true);
    });

    expect(performance.now()).toBeGreaterThan(unheldAt);
    expect(await second.etcd.entries('x')).toHaveLength(1);
  });
});
