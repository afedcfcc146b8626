/** Tests locks on three healthy members whose connections pass nothing for a while, and are then forgotten without a word. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { stageOn, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

describe.skipIf(!(await canControlServers()))('three members behind a network', () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { heartbeatMs: 100, electionMs: 1_000 }));
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  test('that passes nothing for 8 s and forgets those connections cost no lock and no place', async () => {
    const proxies = await Promise.all(stage.server.members.map(({ endpoint }) => startTcpProxy(endpoint)));
    const hosts = proxies.map(({ endpoint }) => endpoint);
    const lockers = Array.from({ length: 8 }, () => stage.createLocker({ hosts, ttlMs: 15_000 }));
    // A repeated test finds its names free.
    const nameOf = (n: number): string => `${hosts[0] ?? ''}/${String(n % 8)}`;
    const locks = await Promise.all(lockers.map((locker, n) => locker.lock(nameOf(n))));
    const waiting = lockers.map((locker, n) => follow(locker.lock(nameOf(n + 1))));
    await Promise.all(locks.map(({ name }) => stage.queued(name, 2)));
    // etcd has the entries. Now the waiters get its responses too: a caller that knows of no entry rejects after requestTimeoutMs.
    await sleep(300);

    for (const proxy of proxies) {
      proxy.strand();
      proxy.strandNext();
    }
    await sleep(8_000);
    for (const proxy of proxies) proxy.resume();
    const after = await Promise.all(lockers.map((locker, n) => timed(locker.lock(`after/${String(n)}`))));
    // By now, the deadlines from before would have passed.
    await sleep(6_000);

    expect(locks.map(({ held, signal }) => held && !signal.aborted)).toEqual(locks.map(() => true));
    expect(after.map(({ error }) => error)).toEqual(after.map(() => undefined));
    expect(Math.max(...after.map(({ ms }) => ms))).toBeLessThan(5_000);
    expect(waiting.every(({ isSettled }) => !isSettled)).toBe(true);
    await Promise.all(locks.map((lock) => lock.release()));
    const next = await Promise.all(waiting.map(({ promise }) => promise));
    expect(next.every(({ held }) => held)).toBe(true);
    await stage.clear();
    for (const proxy of proxies) await proxy.close();
  }, 30_000);
});
