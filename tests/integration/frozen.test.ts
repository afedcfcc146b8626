/** Tests lock(), release() and close() while etcd is frozen, and after it is thawed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdMember, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, lossOf, memberOf, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const ttlMs = 2_000;
/** The deadline is this long before the end of the TTL. */
const marginMs = 500;

describe.skipIf(!(await canControlServers()))('while etcd is frozen', () => {
  let stage: Stage<EtcdServer>;
  let member: EtcdMember;
  beforeAll(async () => {
    stage = await openStage();
    member = memberOf(stage.server);
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  /** Freezes etcd and returns the time. etcd answers no renewal that is sent later. */
  const freeze = async (): Promise<number> => {
    await member.freeze();
    return performance.now();
  };

  test('lock.held and lock.signal report the loss before the TTL ends', async () => {
    const [locker, others] = [stage.createLocker({ ttlMs }), stage.createLocker({ ttlMs })];
    const lock = await locker.lock('x');
    const unread = await locker.lock('y');
    let unreadLostAt = Number.NaN;
    unread.signal.addEventListener('abort', () => (unreadLostAt = performance.now()));
    const waiting = follow(others.lock('x'));
    await stage.queued('x', 2);

    const frozenAt = await freeze();
    const { signalledAt, unheldAt } = await lossOf(lock);

    expect(unheldAt - frozenAt).toBeLessThan(ttlMs - marginMs + 150);
    expect(unheldAt - frozenAt).toBeGreaterThan(ttlMs / 3 - marginMs);
    expect(signalledAt).toBeLessThanOrEqual(unheldAt);
    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired', fencingToken: lock.fencingToken });
    expect([lock.remainingMs, unread.held]).toEqual([0, false]);
    await eventually(() => {
      expect(unreadLostAt - frozenAt).toBeLessThan(ttlMs);
    });
    await sleep(frozenAt + ttlMs + 500 - performance.now());
    expect(waiting.isSettled).toBe(false);

    member.thaw();
    const [fresh, next] = await Promise.all([locker.lock('z'), waiting.promise]);
    expect([fresh.held, next.held, lock.held]).toEqual([true, true, false]);
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    await lock.release();
    expect(await stage.etcd.entries('x')).toMatchObject([{ key: next.key }]);
  });

  test('release() resolves by the end of the lease, and the lock is free afterwards', async () => {
    const [locker, others] = [stage.createLocker({ ttlMs }), stage.createLocker({ ttlMs })];
    const lock = await locker.lock('x');
    await freeze();
    const { remainingMs } = lock;

    const { error, ms } = await timed(lock.release());

    expect(error).toBeUndefined();
    expect(ms).toBeLessThan(remainingMs + marginMs + 300);
    expect(lock.held).toBe(false);
    member.thaw();
    const next = await others.lock('x');
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  });

  test('release() deletes the entry when etcd is thawed before the deadline', async () => {
    const locker = stage.createLocker({ requestTimeoutMs: 500 });
    const lock = await locker.lock('x');
    await freeze();
    const releasing = follow(lock.release());
    await sleep(1_200);
    expect(releasing.isSettled).toBe(false);

    member.thaw();
    await releasing.promise;

    expect(await stage.etcd.entries('x')).toEqual([]);
  });

  test('close() with holders and waiters takes no longer than requestTimeoutMs', async () => {
    const requestTimeoutMs = 800;
    const [locker, others] = [stage.createLocker({ ttlMs, requestTimeoutMs }), stage.createLocker({ ttlMs })];
    const other = await others.lock('y');
    const lock = await locker.lock('x');
    const waiters = [follow(locker.lock('x')), follow(locker.lock('y'))];
    await stage.queued('y', 2);
    await freeze();
    waiters.push(follow(locker.lock('never sent')));

    const { error, ms } = await timed(locker.close());

    expect(error).toBeUndefined();
    expect(ms).toBeLessThan(requestTimeoutMs + 300);
    await Promise.allSettled(waiters.map(({ promise }) => promise));
    for (const waiter of waiters) expect(waiter.error).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(lock.held).toBe(false);
    member.thaw();
    await other.release();
    await others.close();
    await eventually(async () => {
      expect(await stage.etcd.keys()).toEqual([]);
    });
  });

  describe.each([
    ['within the time of a try', 5_000],
    ['long after the time of a try', 400],
  ])('and thawed %s', (_when, requestTimeoutMs) => {
    const failingCalls = {
      aborted: async (stage: Stage<EtcdServer>) => {
        const controller = new AbortController();
        const locker = stage.createLocker({ requestTimeoutMs });
        await locker.withLock('warm', () => undefined);
        return {
          locker,
          start: async () => {
            const reason = new Error('aborted by the test');
            setTimeout(() => {
              controller.abort(reason);
            }, 100);
            const { error, ms } = await timed(locker.lock('x', { signal: controller.signal }));
            expect(error).toBe(reason);
            expect(ms).toBeLessThan(300);
          },
        };
      },
      'timed out': async (stage: Stage<EtcdServer>) => {
        const locker = stage.createLocker({ requestTimeoutMs });
        await locker.withLock('warm', () => undefined);
        return {
          locker,
          start: async () => {
            const { error, ms } = await timed(locker.lock('x', { timeoutMs: 100 }));
            expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
            expect(ms).toBeLessThan(400);
          },
        };
      },
    };

    test.each(Object.keys(failingCalls))('lock() %s while its enqueue is in flight leaves no entry', async (ending) => {
      const others = stage.createLocker();
      const call = await failingCalls[ending as keyof typeof failingCalls](stage);
      const held = await others.lock('x');
      const next = follow(stage.createLocker().lock('x'));
      await stage.queued('x', 2);
      await freeze();

      await call.start();
      await sleep(requestTimeoutMs < 1_000 ? 1_000 : 200);
      member.thaw();

      await stage.queued('x', 2);
      // Its session has done other work, so no request of the failed call is in flight.
      await call.locker.withLock('after', () => undefined);
      await stage.queued('x', 2);
      await held.release();
      await (await next.promise).release();
      expect(await stage.etcd.entries()).toEqual([]);
      const again = await call.locker.tryLock('x');
      expect(again?.held).toBe(true);
    });
  });

  test('an aborted first lock(), which opens the session, leaves no entry and no lease', async () => {
    const locker = stage.createLocker({ ttlMs, requestTimeoutMs: 1_000 });
    await freeze();

    const { error, ms } = await timed(locker.lock('x', { signal: AbortSignal.timeout(100) }));
    await sleep(200);
    member.thaw();

    expect(error).toMatchObject({ name: 'TimeoutError' });
    expect(ms).toBeLessThan(300);
    expect((await locker.lock('x')).held).toBe(true);
  });
});
