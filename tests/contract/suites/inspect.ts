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
          return { key, value, fencingToken: createRevision, leaseId, mode: 'exclusive', slots: 1, foreign: false };
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
  });
}
