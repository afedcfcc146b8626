/** Tests of locks whose etcd is far away: the time of a round trip compared with the TTL. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTcpProxy, type EtcdServer, type TcpProxy } from '../support/etcd/etcd.ts';
import { openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

describe('with a slow way to etcd', () => {
  let stage: Stage<EtcdServer>;
  let proxy: TcpProxy;
  beforeAll(async () => {
    stage = await openStage();
    proxy = await startTcpProxy(stage.server.endpoint);
  });
  afterEach(async () => {
    proxy.delay(0);
    await stage.clear();
  });
  afterAll(async () => {
    await proxy.close();
    await stage[Symbol.asyncDispose]();
  });

  test.each([
    [270, 2_000],
    [300, 3_000],
  ])('a lock is taken, kept and handed over with a round trip of %i ms and a TTL of %i ms', async (roundTripMs, ttlMs) => {
    proxy.delay(roundTripMs / 2);
    const [one, other] = [stage.createLocker({ hosts: proxy.endpoint, ttlMs }), stage.createLocker({ hosts: proxy.endpoint, ttlMs })];

    const lock = await one.lock('x');
    const waiting = other.lock('x');
    await sleep(2.5 * ttlMs);

    expect(lock.held).toBe(true);
    await lock.release();
    expect((await waiting).held).toBe(true);
  });

  test('lock() rejects, and names the TTL to choose, when a TTL of 2 s is less than six round trips', async () => {
    proxy.delay(300);
    const locker = stage.createLocker({ hosts: proxy.endpoint, ttlMs: 2_000 });

    const { error, ms } = await timed(locker.lock('x'));

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(String(error)).toMatch(/Cannot keep a lease of 2000 ms: a round trip to etcd takes [6-9]\d\d ms; set ttlMs to at least \d{4}$/);
    expect(ms).toBeLessThan(15_000);
  });
});
