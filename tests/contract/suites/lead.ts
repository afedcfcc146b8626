/** Contract of lead() and of close({ drainMs }). */
import { LockerClosedError, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });

export function leadContract(open: OpenFixture): void {
  describe('lead()', () => {
    test('lead() runs its function in one process at a time, and begins a higher term after a loss', async () => {
      await using fixture = await open();
      const stop = new AbortController();
      const terms: bigint[] = [];
      let leaders = 0;
      const run = async ({ fencingToken, signal }: Lock): Promise<void> => {
        terms.push(fencingToken);
        leaders += 1;
        expect(leaders).toBe(1);
        await untilAborted(AbortSignal.any([signal, stop.signal]));
        leaders -= 1;
      };
      const candidates = ['one', 'two', 'three'].map((value) => fixture.createLocker({ ttlMs: 2_000, value }));
      const leading = candidates.map((candidate) => errorOf(candidate.lead('a', { signal: stop.signal, maxHoldMs: 300 }, run)));

      await fixture.until(() => {
        expect(terms.length).toBeGreaterThan(4);
      });
      stop.abort(new Error('enough'));

      // The leader has resolved, and the others campaign no longer.
      const errors = await Promise.all(leading);
      expect(errors.filter((error) => error === undefined)).toHaveLength(1);
      expect(terms).toEqual([...new Set(terms)].sort((a, b) => Number(a - b)));
    });
  });

  describe('close({ drainMs })', () => {
    test('close({ drainMs }) rejects waiters at once, and takes no lock from a function that ends in time', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const finish: (() => void)[] = [];
      const running = locker.withLock(
        'a',
        (lock) =>
          new Promise<boolean>((resolve) => {
            finish.push(() => {
              resolve(lock.held);
            });
          }),
      );
      await fixture.until(() => {
        expect(finish).toHaveLength(1);
      });
      const waiting = errorOf(locker.lock('a'));
      const next = follow(other.lock('a'));

      const closed = follow(locker.close({ drainMs: 60_000 }));
      expect(await waiting).toBeInstanceOf(LockerClosedError);
      await fixture.pass(50);
      expect([closed.isSettled, next.isSettled]).toEqual([false, false]);
      finish[0]?.();

      expect(await running).toBe(true);
      await closed.promise;
      expect((await next.promise).held).toBe(true);
    });

    test('close({ drainMs }) takes what is held when the time is over', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const { signal } = await locker.lock('a');

      const closed = follow(locker.close({ drainMs: 100 }));
      await fixture.until(() => {
        expect(closed.isSettled).toBe(true);
      });

      expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
      expect(await other.tryLock('a')).not.toBeNull();
    });
  });
}
