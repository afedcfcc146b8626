/** Tests the order of waiters, and waiters that end or lose their entry. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterEach(() => stage.clear());
afterAll(() => stage[Symbol.asyncDispose]());

describe('lock()', () => {
  test('admits waiters of many lockers in the order of their calls', async () => {
    const lockers = Array.from({ length: 8 }, () => stage.createLocker());
    const order: number[] = [];
    const tokens: bigint[] = [];
    const holds: Promise<void>[] = [];
    const held = await lockers[0]?.lock('x');
    for (const [index, locker] of lockers.slice(1).entries()) {
      holds.push(
        locker.withLock('x', ({ fencingToken }) => {
          order.push(index);
          tokens.push(fencingToken);
        }),
      );
      await stage.queued('x', index + 2);
    }

    await held?.release();
    await Promise.all(holds);

    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
  });

  test.each(['abort', 'timeoutMs'])('lets the next waiter hold when %s ends the call just as it would hold', async (how) => {
    const [holders, waiters, others] = [stage.createLocker(), stage.createLocker(), stage.createLocker()];
    let abandoned = 0;
    let timeoutMs = 120;
    for (let round = 0; round < 40; round += 1) {
      const controller = new AbortController();
      const held = await holders.lock('x');
      const ending = follow(waiters.lock('x', how === 'abort' ? { signal: controller.signal } : { timeoutMs }));
      const calledAt = performance.now();
      await stage.queued('x', 2);
      const next = follow(others.lock('x'));
      // On a busy machine the call may end before the third entry is there: the next rounds leave more time.
      await Promise.race([stage.queued('x', 3), ending.promise.catch(() => undefined)]);
      if (how === 'timeoutMs' && ending.isSettled) timeoutMs *= 2;

      // The moment varies, so that some calls end just before the hand-over, some during it, and some after it.
      if (how === 'timeoutMs') await sleep(calledAt + timeoutMs - (round % 6) - performance.now());
      else {
        setTimeout(() => {
          controller.abort();
        }, round % 4);
      }
      await held.release();
      await Promise.allSettled([ending.promise]);
      if (ending.value === undefined) abandoned += 1;
      else await ending.value.release();

      const won = await next.promise;
      expect(won.held).toBe(true);
      await won.release();
    }

    expect(await stage.etcd.entries()).toEqual([]);
    expect(abandoned).toBeGreaterThan(0);
  });

  test('goes to the back of the queue when its entry is deleted', async () => {
    const [holders, waiters] = [stage.createLocker(), stage.createLocker({ ttlMs: 3_000 })];
    const held = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    const [, entry] = await stage.etcd.entries('x');

    await stage.etcd.delete(entry?.key ?? '');
    // The waiter gets no event for it. A periodic look finds the loss.
    await stage.queued('x', 2);
    const [, again] = await stage.etcd.entries('x');

    expect(again?.createRevision).toBeGreaterThan(entry?.createRevision ?? 0n);
    expect(waiting.isSettled).toBe(false);
    await held.release();
    expect((await waiting.promise).fencingToken).toBe(again?.createRevision);
  });

  test('goes to the back of the queue with a new session when its lease is revoked', async () => {
    const [holders, waiters] = [stage.createLocker(), stage.createLocker({ ttlMs: 3_000 })];
    const held = await holders.lock('x');
    const waiting = [follow(waiters.lock('x')), follow(waiters.lock('x'))];
    await stage.queued('x', 2);
    const [, entry] = await stage.etcd.entries('x');

    await stage.etcd.revoke(entry?.leaseId ?? '');
    await stage.queued('x', 2);
    const [, again] = await stage.etcd.entries('x');

    expect(again?.leaseId).not.toBe(entry?.leaseId);
    await held.release();
    for (const { promise } of waiting) await (await promise).release();
    expect(await stage.etcd.entries('x')).toEqual([]);
  });
});
