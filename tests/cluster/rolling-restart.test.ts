/** Tests that lockers spread over the members again after each member was restarted. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { ask, waitUntilHealthy } from '../support/etcd/http.ts';
import { stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';

const lockerCount = 30;

describe.skipIf(!(await canControlServers()))('a cluster of three', () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3));
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  /** The keepalive streams that each member has served so far. */
  const renewals = (): Promise<number[]> =>
    Promise.all(
      stage.server.endpoints.map(async (endpoint) => {
        const { body } = await ask(endpoint, '/metrics', { timeoutMs: 5_000 });
        return Number(/^grpc_server_started_total\{grpc_method="LeaseKeepAlive".*\} (\S+)$/m.exec(body)?.[1] ?? 0);
      }),
    );

  const shares = async (ms: number): Promise<number[]> => {
    const before = await renewals();
    await sleep(ms);
    const counts = (await renewals()).map((count, index) => count - (before[index] ?? 0));
    const sum = counts.reduce((total, count) => total + count, 0);
    return counts.map((count) => count / sum);
  };

  test('each member renews at least a tenth of the leases of thirty lockers after all members were restarted in turn', async () => {
    const [a, b, c] = stage.server.endpoints as [string, string, string];
    const orders = [
      [a, b, c],
      [b, c, a],
      [c, a, b],
    ] as const;
    const lockers = Array.from({ length: lockerCount }, (_, index) =>
      stage.createLockerAt(orders[index % 3] ?? orders[0], { ttlMs: 9_000, requestTimeoutMs: 1_500 }),
    );
    const locks = await Promise.all(lockers.map((locker, index) => locker.lock(`n${String(index)}`)));

    for (const member of stage.server.members) {
      await member.terminate();
      await member.start();
      for (const endpoint of stage.server.endpoints) await waitUntilHealthy(endpoint);
    }
    await sleep(12_000); // a return takes up to six times requestTimeoutMs, and a renewal that notices that it is due

    expect(Math.min(...(await shares(6_000)))).toBeGreaterThanOrEqual(0.1);
    expect(locks.map(({ held }) => held)).toEqual(locks.map(() => true));
  }, 90_000);
});
