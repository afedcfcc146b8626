/** Tests of `breakLock()` on a real etcd: how soon a holder hears of it, with how many requests, and holders of other programs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { lossOf, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterEach(() => stage.clear());
afterAll(() => stage[Symbol.asyncDispose]());

test('breakLock() is noticed by the holder long before its next beat', async () => {
  // A beat is due after 100 s, or up to a fifth earlier.
  const [locker, operator] = [stage.createLocker({ ttlMs: 300_000 }), stage.createLocker()];
  await operator.inspect('warm');
  const delays: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const lock = await locker.lock('a');
    const waiting = stage.createLocker().lock('a');
    await stage.queued('a', 2);
    await sleep(100);

    const lost = lossOf(lock);
    const startedAt = performance.now();
    const removed = await operator.breakLock('a', { fencingToken: lock.fencingToken });
    const { signalledAt } = await lost;

    delays.push(signalledAt - startedAt);
    expect(removed).toMatchObject([{ key: lock.key }]);
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    await (await waiting).release();
  }

  expect(Math.max(...delays)).toBeLessThan(3_000);
  if (process.env['DEBUG_DELAYS'] !== undefined) console.log(delays);
});

describe.skipIf(etcdctl === null)('a holder of `etcdctl lock`', () => {
  test('is removed by breakLock(), and the next waiter gets the lock', async () => {
    const path = `${stage.prefix}foreign`;
    await using other = new TestProcess(etcdctl ?? 'etcdctl', ['--endpoints', stage.server.endpoint, 'lock', path, '--ttl', '60'], {
      PATH: process.env['PATH'],
      ETCDCTL_API: '3',
    });
    const { step: key } = await other.reached(/\/[0-9a-f]+$/);
    const locker = stage.createLocker();
    const waiting = follow(locker.lock('foreign'));
    await stage.queued('foreign', 2);

    const { holders } = await locker.inspect('foreign');
    const removed = await locker.breakLock('foreign');

    expect(holders[0]?.leaseRemainingMs).toBeGreaterThan(30_000);
    expect(removed).toMatchObject([{ key, foreign: true }]);
    expect((await waiting.promise).held).toBe(true);
    other.signal('SIGINT');
    await other.ended;
    // etcdctl leaves its lease behind if its key is gone.
    await stage.etcd.revoke(holders[0]?.leaseId ?? '');
  });
});
