/** Tests of lockers behind `etcd grpc-proxy`, which gives watches ids of its own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { startGrpcProxy, type GrpcProxy } from '../support/etcd/grpc-proxy.ts';
import { eventually, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

describe.skipIf(!(await canControlServers()))('behind etcd grpc-proxy', () => {
  let stage: Stage<EtcdServer>;
  let proxy: GrpcProxy;
  beforeAll(async () => {
    stage = await openStage();
    proxy = await startGrpcProxy(stage.server.endpoint);
  });
  afterEach(() => stage.clear());
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  test('each waiter wakes by its watch, and nobody loses a lock by the event of another watch', async () => {
    const hosts = [proxy.endpoint];
    const [first, second, third] = [1, 2, 3].map(() => stage.createLocker({ hosts, ttlMs: 60_000 }));
    if (first === undefined || second === undefined || third === undefined) return;
    const kept = await Promise.all([second.lock('kept'), third.lock('kept as well')]);

    for (let round = 0; round < 5; round += 1) {
      const lock = await first.lock('x');
      const later = [second.lock('x')];
      await stage.queued('x', 2);
      later.push(third.lock('x'));
      await stage.queued('x', 3);

      // A slow look comes after a third of the TTL, which is 20 s.
      const { ms } = await timed(Promise.all([lock.release(), ...later.map(async (waiting) => (await waiting).release())]));
      expect(ms).toBeLessThan(5_000);
    }
    expect(kept.map(({ held }) => held)).toEqual([true, true]);
  });

  test('inspect() reports how long leases last, and a holder notices breakLock() at once', async () => {
    const hosts = [proxy.endpoint];
    const [locker, operator] = [1, 2].map(() => stage.createLocker({ hosts, ttlMs: 60_000 }));
    const lock = await locker?.lock('x');
    const { signal } = lock ?? {};

    expect((await operator?.inspect('x'))?.holders[0]?.leaseRemainingMs).toBeGreaterThan(30_000);
    await operator?.breakLock('x');

    // A beat is due after 20 s, or up to a fifth earlier.
    await eventually(() => {
      expect(signal?.aborted).toBe(true);
    });
  });
});
