/** Contract of many calls at once: sessions, listeners and order. */
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { expectHolder } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function concurrentCallsContract(open: OpenFixture): void {
  describe('concurrent calls', () => {
    test('lock() grants one lease for 50 first locks at once', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const locks = await Promise.all(Array.from({ length: 50 }, (_, index) => locker.lock(`n${String(index)}`)));

      const gates = await fixture.gates();
      expect(gates).toHaveLength(1);
      expect(new Set(locks.map(({ leaseId }) => leaseId))).toEqual(new Set([gates[0]?.leaseId]));
      expect(new Set(locks.map(({ fencingToken }) => fencingToken)).size).toBeGreaterThan(0);
      for (const lock of locks.slice(0, 3)) await expectHolder(locker, lock);
    });

    test('lock() uses one session for each TTL, rounded up to whole seconds', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker({ ttlMs: 10_000 });

      const ttls = [undefined, 9_001, 10_000, 20_000, 19_999, 30_000];
      const locks = await Promise.all(ttls.map((ttlMs, index) => locker.lock(`n${String(index)}`, { ttlMs })));

      const leases = locks.map(({ leaseId }) => leaseId);
      expect(leases).toEqual([leases[0], leases[0], leases[0], leases[3], leases[3], leases[5]]);
      expect(new Set(leases).size).toBe(3);
      expect(await fixture.gates()).toHaveLength(3);
      expect(locks.map(({ remainingMs }) => Math.ceil(remainingMs / 1000))).toEqual([9, 9, 9, 18, 18, 27]);
    });

    test('lock() opens a second session for the 1001st entry', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const locks = await Promise.all(Array.from({ length: 1_001 }, (_, index) => locker.lock(`n${String(index)}`)));

      const counts = new Map<string, number>();
      for (const { leaseId } of locks) counts.set(leaseId, (counts.get(leaseId) ?? 0) + 1);
      expect([...counts.values()].sort((a, b) => a - b)).toEqual([1, 1_000]);
      expect(await fixture.gates()).toHaveLength(2);
    });

    test('lock() leaves no listener on a signal after 10 000 calls', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const { signal } = new AbortController();

      for (let count = 0; count < fixture.times(10_000); count += 1) {
        const [first, second, busy] = [
          locker.lock('a', { signal }),
          locker.lock('a', { signal, timeoutMs: 60_000 }),
          locker.tryLock('a', { signal }),
        ];
        await (await first).release();
        await (await second).release();
        await busy;
      }

      expect(getEventListeners(signal, 'abort')).toEqual([]);
    });

    test('lock() serves 200 callers of five lockers one at a time', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 5 }, () => fixture.createLocker());
      const tokens: bigint[] = [];
      let inside = 0;

      await Promise.all(
        Array.from({ length: 200 }, async (_, index) => {
          const locker = lockers[index % lockers.length];
          await locker?.withLock('a', async ({ fencingToken }) => {
            inside += 1;
            expect(inside).toBe(1);
            tokens.push(fencingToken);
            await new Promise((resolve) => setImmediate(resolve));
            inside -= 1;
          });
        }),
      );

      expect(tokens).toHaveLength(200);
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => Number(a - b)));
    });
  });
}
