/** Tests of leases that etcd revokes, and of keys that another program writes, on a real etcd. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, lossOf, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterEach(() => stage.clear());
afterAll(() => stage[Symbol.asyncDispose]());

test('a revoked lease is noticed by its holder and its waiter long before the next beat', async () => {
  // A beat is due after 100 s, or up to a fifth earlier.
  const [locker, other] = [stage.createLocker({ ttlMs: 300_000 }), stage.createLocker()];
  const [lock, busy] = [await locker.lock('a'), await other.lock('b')];
  const waiting = locker.lock('b');
  await stage.queued('b', 2);
  await sleep(300);

  const lost = lossOf(lock);
  const revokedAt = performance.now();
  await stage.etcd.revoke(lock.leaseId);
  const { signalledAt } = await lost;

  expect(signalledAt - revokedAt).toBeLessThan(3_000);
  expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
  await stage.queued('b', 2);
  await busy.release();
  expect((await waiting).leaseId).not.toBe(lock.leaseId);
});

test('a key that was put without its lease is lost and deleted', async () => {
  const locker = stage.createLocker({ ttlMs: 3_000 });
  const lock = await locker.lock('a');

  const lost = lossOf(lock);
  await stage.etcd.put(lock.key, 'outsider');
  await lost;

  expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
  await eventually(async () => {
    expect(await stage.etcd.entries('a')).toEqual([]);
  });
});
