/** Tests that release() and close() delete exactly their own entries, and what the first locks of a locker create. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, expectNothingLeft, memberOf, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const canControl = await canControlServers();
let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterEach(() => stage.clear());
afterAll(() => stage[Symbol.asyncDispose]());

describe('release()', () => {
  test('leaves the next holder alone when it is called twice', async () => {
    const [first, second] = [stage.createLocker(), stage.createLocker()];
    const lock = await first.lock('x');
    await lock.release();
    const next = await second.lock('x');

    await lock.release();
    await lock[Symbol.asyncDispose]();

    expect(await stage.etcd.entries('x')).toMatchObject([{ key: next.key, createRevision: next.fencingToken }]);
    expect([lock.held, next.held]).toEqual([false, true]);
    expect(lock.signal.aborted).toBe(false);
  });

  test('writes nothing when the lock was lost and the next caller of the locker holds', async () => {
    const locker = stage.createLocker({ ttlMs: 2_000 });
    const lock = await locker.lock('x');
    const waiting = follow(locker.lock('x'));

    await stage.etcd.delete(lock.key);
    const next = await waiting.promise;
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    const before = await stage.etcd.revision();
    await lock.release();
    await lock.release();

    expect(await stage.etcd.entries('x')).toMatchObject([{ key: next.key }]);
    expect(await stage.etcd.revision()).toBe(before);
    expect(next.held).toBe(true);
  });

  test('deletes nothing when another client has put the key of the lost entry', async () => {
    const locker = stage.createLocker();
    const lock = await locker.lock('x');
    await stage.etcd.delete(lock.key);
    await stage.etcd.put(lock.key, 'not ours');

    await lock.release();

    expect(await stage.etcd.entries('x')).toMatchObject([{ key: lock.key, value: 'not ours' }]);
    await stage.etcd.delete(lock.key);
  });

  test.skipIf(!canControl)('resolves by the end of its lease when etcd is down, and the lock is free later', async () => {
    const member = memberOf(stage.server);
    const [locker, others] = [stage.createLocker({ ttlMs: 2_000 }), stage.createLocker({ ttlMs: 2_000 })];
    const lock = await locker.lock('x');
    await member.kill();
    const { remainingMs } = lock;

    const [first, second] = await Promise.all([timed(lock.release()), timed(lock.release())]);

    expect([first.error, second.error]).toEqual([undefined, undefined]);
    expect(first.ms).toBeLessThan(remainingMs + 500 + 300);
    await member.start();
    const next = await others.lock('x');
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  });
});

describe('close()', () => {
  test('releases held locks, rejects waiting calls, and leaves no key and no lease', async () => {
    const [locker, others] = [stage.createLocker(), stage.createLocker()];
    const held = await locker.lock('held');
    const otherLock = await others.lock('theirs');
    const waiters = [follow(locker.lock('held')), follow(locker.lock('theirs')), follow(locker.lock('theirs'))];
    const next = follow(others.lock('held'));
    const watch = locker.watch('held');
    expect((await watch.next()).value).toMatchObject({ held: true });
    await stage.queued('theirs', 2);
    await stage.queued('held', 2);

    await locker.close();

    await Promise.allSettled(waiters.map(({ promise }) => promise));
    for (const waiter of waiters) expect(waiter.error).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(held.held).toBe(false);
    expect(held.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    expect((await next.promise).held).toBe(true);
    expect(await stage.etcd.entries('theirs')).toMatchObject([{ key: otherLock.key }]);
    expect(new Set(await stage.etcd.leases())).toEqual(new Set([otherLock.leaseId]));
    await expect(locker.lock('x')).rejects.toMatchObject({ code: 'LOCKER_CLOSED' });
    await held.release();
    await others.close();
    await expectNothingLeft(stage.etcd);
  });

  test('leaves no key and no lease when it is called during the first calls', async () => {
    for (let round = 0; round < 10; round += 1) {
      const locker = stage.createLocker();
      const calls = [follow(locker.lock('a')), follow(locker.tryLock('b')), follow(locker.inspect('c'))];
      if (round > 0) await new Promise((resolve) => setTimeout(resolve, round));

      await locker.close();

      await Promise.allSettled(calls.map(({ promise }) => promise));
    }
    await expectNothingLeft(stage.etcd);
  });
});

test('lock() opens one session for 50 first calls at once', async () => {
  const locker = stage.createLocker();

  const locks = await Promise.all(Array.from({ length: 50 }, (_, index) => locker.lock(`n/${String(index)}`)));

  expect(await stage.etcd.leases()).toEqual([locks[0]?.leaseId]);
  expect(new Set(locks.map(({ leaseId }) => leaseId)).size).toBe(1);
  expect(new Set(locks.map(({ key }) => key)).size).toBe(50);
  expect(await stage.etcd.keys(`${stage.prefix}@sessions/`)).toHaveLength(1);
});

test('lock() treats names that look alike as different', async () => {
  const locker = stage.createLocker();
  const names = ['a', 'a/b', 'a/', 'ä/😀', '..', '%2F', '/', '@sessions', 'x'.repeat(1024)];

  const locks = await Promise.all(names.map((name) => locker.lock(name)));

  expect(locks.map(({ held }) => held)).toEqual(names.map(() => true));
  const states = await Promise.all(names.map((name) => locker.inspect(name)));
  expect(states.map(({ holders }) => holders.map(({ key }) => key))).toEqual(locks.map(({ key }) => [key]));
});

test('a name is free after the lease of its holder has ended, and a holder keeps its name for longer than its TTL', async () => {
  const ttlMs = 2_000;
  const [ending, running] = [stage.createLocker({ ttlMs }), stage.createLocker({ ttlMs })];
  const kept = await running.lock('kept');
  const lost = await ending.lock('lost');
  const waiting = [follow(ending.lock('kept')), follow(running.lock('lost'))] as const;
  await stage.queued('lost', 2);

  await stage.etcd.revoke(lost.leaseId);

  expect((await waiting[1].promise).held).toBe(true);
  await eventually(() => {
    expect(lost.signal.aborted).toBe(true);
  });
  await new Promise((resolve) => setTimeout(resolve, 1.5 * ttlMs));
  expect([kept.held, kept.signal.aborted, waiting[0].isSettled]).toEqual([true, false, false]);
  await kept.release();
  expect((await waiting[0].promise).held).toBe(true);
});
