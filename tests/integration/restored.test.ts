/** Tests of an etcd that goes back to an earlier copy of its data, as after a restore from a snapshot, under running lockers. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { canControlServers, type EtcdMember } from '../support/etcd/etcd.ts';
import { eventually, memberOf, openStage } from '../support/fixtures/etcd-stage.ts';

/**
 * Copies the data of an ended member: the same as a snapshot, for every version and without etcdutl. The member is killed, because a clean
 * end of etcd 3.5 and later waits seven seconds for the streams of the lockers.
 */
async function save(member: EtcdMember): Promise<void> {
  await member.kill();
  await cp(join(member.dataDir, 'data'), join(member.dataDir, 'saved'), { recursive: true });
  await member.start();
}

async function restore(member: EtcdMember): Promise<void> {
  await member.kill();
  await rm(join(member.dataDir, 'data'), { recursive: true });
  await cp(join(member.dataDir, 'saved'), join(member.dataDir, 'data'), { recursive: true });
  await member.start();
}

test.skipIf(!(await canControlServers()))('a released lock that a restore brings back does not block its name', async () => {
  await using stage = await openStage();
  const member = memberOf(stage.server);
  const [locker, other] = [stage.createLocker({ ttlMs: 30_000 }), stage.createLocker({ ttlMs: 30_000 })];
  const [kept, lock] = [await locker.lock('kept'), await locker.lock('a')];
  await save(member);
  await lock.release();
  await restore(member);

  const next = await other.lock('a', { timeoutMs: 20_000 });

  expect([kept.held, next.held]).toEqual([true, true]);
  expect((await stage.etcd.entries('a')).map(({ key }) => key)).toEqual([next.key]);
});

test.skipIf(!(await canControlServers()))('lock() gets a new lease after a restore from before its gate moved', async () => {
  await using stage = await openStage();
  const member = memberOf(stage.server);
  const locker = stage.createLocker({ ttlMs: 30_000, requestTimeoutMs: 2_000 });
  const lock = await locker.lock('a');
  const { leaseId } = lock;
  await lock.release();
  await save(member);
  const gateRevision = async () => (await stage.etcd.keys()).find(({ key }) => key.includes('@sessions/'))?.modRevision ?? 0n;
  const before = await gateRevision();
  // Connects again: a creation that finds no connection is provably not sent, and needs no gate move.
  await locker.withLock('b', () => undefined);
  await member.freeze();
  const moving = locker.lock('b');
  await sleep(1_300);
  member.thaw();
  await (await moving).release();
  expect(await gateRevision()).toBeGreaterThan(before);
  await restore(member);

  const after = await locker.lock('c', { timeoutMs: 10_000 });
  await eventually(async () => {
    expect((await stage.etcd.leases()).length).toBe(1);
  });

  expect(after.leaseId).not.toBe(leaseId);
  // Before, thousands of requests a second compared a revision that etcd no longer had.
  const handled = [...(await stage.server.metrics()).matchAll(/^grpc_server_handled_total\{.*grpc_method="Txn".*\} (\S+)$/gm)];
  expect(handled.reduce((sum, [, count]) => sum + Number(count), 0)).toBeLessThan(100);
});
