import { describe, expect, test } from 'vitest';
import { follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function inspectContract(open: OpenFixture): void {
  describe('inspect()', () => {
    test('inspect() reports a free name, and makes no session', async () => {
      await using fixture = await open();

      const state = await fixture.createLocker().inspect('a');

      expect(state).toEqual({
        name: 'a',
        held: false,
        holders: [],
        waiting: 0,
        waiters: [],
        localWaiting: 0,
        revision: expect.any(BigInt) as bigint,
        current: true,
      });
      expect(await fixture.gates()).toEqual([]);
    });

    test('inspect() reports the holder, and the waiters in the order of the queue', async () => {
      await using fixture = await open();
      const observer = fixture.createLocker();
      const lock = await fixture.createLocker().lock('a', { value: 'holder' });
      const waiting = [];
      for (const value of ['first', 'second', 'third']) {
        waiting.push(follow(fixture.createLocker().lock('a', { value })));
        await fixture.until(async () => {
          expect((await observer.inspect('a')).waiters.at(-1)?.value).toBe(value);
        });
      }

      const state = await observer.inspect('a');

      expect(state).toMatchObject({ held: true, waiting: 3, holders: [{ value: 'holder', fencingToken: lock.fencingToken }] });
      expect(state.waiters.map(({ value }) => value)).toEqual(['first', 'second', 'third']);
      const entries = await fixture.entries('a');
      expect(state.waiters).toEqual(
        entries.slice(1).map(({ key, value, createRevision, leaseId }) => {
          const leaseRemainingMs = expect.any(Number) as number;
          return { key, value, fencingToken: createRevision, leaseId, leaseRemainingMs, mode: 'exclusive', slots: 1, foreign: false };
        }),
      );
      expect(state.revision).toBeGreaterThanOrEqual(entries.at(-1)?.modRevision ?? 0n);
      await lock.release();
      for (const { promise } of waiting) await (await promise).release();
    });

    test('inspect() marks an entry of another program as foreign', async () => {
      await using fixture = await open();
      const key = `${fixture.prefix}a/694d8e8f1b2c`;
      await fixture.store.commit({ compare: [], then: [{ put: { key, value: 'by hand', leaseId: '0' } }], otherwise: [] });

      const { held, holders } = await fixture.createLocker().inspect('a');

      expect(held).toBe(true);
      expect(holders).toMatchObject([{ key, value: 'by hand', foreign: true, leaseId: '0', mode: 'exclusive', slots: 1 }]);
      await fixture.deleteKey(key);
    });

    test('inspect() and list() report how long each lease lasts, and null for an entry without one', async () => {
      await using fixture = await open();
      const observer = fixture.createLocker();
      const lock = await fixture.createLocker({ ttlMs: 60_000 }).lock('a');
      const waiting = follow(fixture.createLocker({ ttlMs: 20_000 }).lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const key = `${fixture.prefix}b/694d8e8f1b2c`;
      await fixture.store.commit({ compare: [], then: [{ put: { key, value: '', leaseId: '0' } }], otherwise: [] });

      await fixture.pass(1_100);
      const { holders, waiters } = await observer.inspect('a');
      const listed = [];
      for await (const state of observer.list()) listed.push(state.holders[0]?.leaseRemainingMs);

      // 45 s: a busy machine may take long, and etcd rounds down.
      const times = [holders[0]?.leaseRemainingMs ?? 0, waiters[0]?.leaseRemainingMs ?? 0, listed[0] ?? 0];
      expect(times.map((ms) => ms % 1_000)).toEqual([0, 0, 0]);
      expect(times.map((ms) => [ms > 45_000, ms < 60_000])).toEqual([
        [true, true],
        [false, true],
        [true, true],
      ]);
      expect(times[1]).toBeGreaterThan(5_000);
      expect(listed[1]).toBeNull();
      await fixture.deleteKey(key);
      await lock.release();
      await (await waiting.promise).release();
    });

    test('inspect() counts the callers of its own process that wait without an entry', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const lock = await locker.lock('a');
      const waiting = [1, 2, 3].map(() => follow(locker.lock('a')));
      const theirs = follow(other.lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      const [own, others] = [await locker.inspect('a'), await other.inspect('a')];

      expect([own.waiting, own.localWaiting]).toEqual([1, 3]);
      expect([others.waiting, others.localWaiting]).toEqual([1, 0]);
      await lock.release();
      for (const { promise } of [theirs, ...waiting]) await (await promise).release();
    });
  });
}
