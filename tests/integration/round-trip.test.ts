/** Tests of locks whose etcd is far away: the time of a round trip compared with the TTL. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTcpProxy, type EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, stageOn, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

describe('with a slow way to etcd', { concurrent: true }, () => {
  let shared: Stage<EtcdServer>;
  beforeAll(async () => {
    shared = await openStage();
  });
  afterAll(() => shared[Symbol.asyncDispose]());

  /** Opens a way with a delay and a prefix of its own, because the tests mostly wait, and so run side by side. */
  async function openSlowWay(delayMs: number) {
    const stage = stageOn(shared.server, true);
    const proxy = await startTcpProxy(shared.server.endpoint);
    proxy.delay(delayMs);
    return {
      createLocker: (ttlMs: number) => stage.createLocker({ hosts: proxy.endpoint, ttlMs }),
      async [Symbol.asyncDispose]() {
        proxy.delay(0);
        await stage.clear();
        await proxy.close();
      },
    };
  }

  test.each([
    [270, 2_000],
    [300, 3_000],
  ])('a lock is taken, kept and handed over with a round trip of %i ms and a TTL of %i ms', async (roundTripMs, ttlMs) => {
    await using way = await openSlowWay(roundTripMs / 2);
    const [one, other] = [way.createLocker(ttlMs), way.createLocker(ttlMs)];

    const lock = await one.lock('x');
    const waiting = other.lock('x');
    await sleep(2.5 * ttlMs);

    expect(lock.held).toBe(true);
    await lock.release();
    expect((await waiting).held).toBe(true);
  });

  test('lock() rejects, and names the TTL to choose, when a TTL of 2 s is less than six round trips', async () => {
    await using way = await openSlowWay(300);
    const locker = way.createLocker(2_000);

    const { error, ms } = await timed(locker.lock('x'));

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(String(error)).toMatch(/Cannot keep a lease of 2000 ms: a round trip to etcd takes [6-9]\d\d ms; set ttlMs to at least \d{4}$/);
    expect(ms).toBeLessThan(15_000);
  });
});
