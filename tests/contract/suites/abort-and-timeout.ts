/** Contract of calls that are aborted or time out: they reject and leave no entry. */
import { LockTimeoutError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

const nextTick = () => new Promise((resolve) => setImmediate(resolve));

async function expectNoEntry(fixture: LockerFixture): Promise<void> {
  await fixture.until(async () => {
    expect(await fixture.entries('a')).toEqual([]);
  });
}

export function abortAndTimeoutContract(open: OpenFixture): void {
  describe('abort and timeout', () => {
    test('lock() rejects with the reason, and sends no request, when its signal is already aborted', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const reason = new Error('no more');

      expect(await errorOf(locker.lock('a', { signal: AbortSignal.abort(reason) }))).toBe(reason);
      expect(await errorOf(locker.tryLock('a', { signal: AbortSignal.abort(reason) }))).toBe(reason);

      expect(await fixture.gates()).toEqual([]);
    });

    test.each(['a fresh', 'a used'])('lock() leaves no entry when it is aborted during its enqueue, on %s locker', async (kind) => {
      await using fixture = await open();
      for (let ticks = 0; ticks < 12; ticks += 1) {
        const locker = fixture.createLocker();
        if (kind === 'a used') await locker.withLock('other', () => undefined);
        const controller = new AbortController();
        const attempt = follow(locker.lock('a', { signal: controller.signal }));
        for (let tick = 0; tick < ticks; tick += 1) await nextTick();
        controller.abort(new Error(`after ${String(ticks)} ticks`));
        const error = await errorOf(attempt.promise);

        if (attempt.value === undefined) expect(error).toBe(controller.signal.reason);
        else await attempt.value.release();

        await expectNoEntry(fixture);
      }
    });

    test('lock() still waits for the holder when the waiter before it is aborted', async () => {
      await using fixture = await open();
      const lockers = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()] as const;
      const holder = await lockers[0].lock('a');
      const controller = new AbortController();
      const between = follow(lockers[1].lock('a', { signal: controller.signal }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      const last = follow(lockers[2].lock('a'));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(3);
      });

      controller.abort();
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });
      expect(between.error).toBe(controller.signal.reason);
      expect(last.isSettled).toBe(false);
      await holder.release();

      await expectHolder(lockers[0], await last.promise);
    });

    test('lock() rejects with LockTimeoutError, which has the value of the holder, when its time is up', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a', { value: 'busy one' });
      const waiting = follow(fixture.createLocker().lock('a', { timeoutMs: 300 }));
      await fixture.until(async () => {
        expect(await fixture.entries('a')).toHaveLength(2);
      });

      await fixture.pass(300);
      const error = await errorOf(waiting.promise);

      expect(error).toBeInstanceOf(LockTimeoutError);
      expect(error).toMatchObject({ code: 'LOCK_TIMEOUT', lockName: 'a', timeoutMs: 300, holder: 'busy one' });
      await fixture.until(async () => {
        expect((await fixture.entries('a')).map(({ key }) => key)).toEqual([holder.key]);
      });
    });

    test('lock() with timeoutMs 0 acquires a free lock, and rejects at once when it is held', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];

      const lock = await one.lock('a', { timeoutMs: 0, value: 'first' });

      await expectHolder(other, lock);
      expect(await errorOf(other.lock('a', { timeoutMs: 0 }))).toMatchObject({ code: 'LOCK_TIMEOUT', holder: 'first' });
      expect(await errorOf(one.lock('a', { timeoutMs: 0 }))).toMatchObject({ code: 'LOCK_TIMEOUT', holder: 'first' });
    });

    test('lock() leaves the local queue when it is aborted or times out', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const holder = await locker.lock('a');
      const controller = new AbortController();
      const aborted = follow(locker.lock('a', { signal: controller.signal }));
      const timedOut = follow(locker.lock('a', { timeoutMs: 200 }));
      const last = follow(locker.lock('a'));

      controller.abort();
      await fixture.pass(200);

      expect(await errorOf(aborted.promise)).toBe(controller.signal.reason);
      expect(await errorOf(timedOut.promise)).toMatchObject({ code: 'LOCK_TIMEOUT', holder: holder.value });
      expect(last.isSettled).toBe(false);
      await holder.release();
      await expectHolder(locker, await last.promise);
    });

    const moments = [
      { order: 'release() first', where: 'another locker' },
      { order: 'abort first', where: 'another locker' },
      { order: 'release() first', where: 'the same locker' },
      { order: 'abort first', where: 'the same locker' },
    ];
    test.each(moments)('lock() leaves no entry when it is aborted at its turn, on $where, $order', async ({ order, where }) => {
      await using fixture = await open();
      for (let round = 0; round < 10; round += 1) {
        const [one, third] = [fixture.createLocker(), fixture.createLocker()];
        const other = where === 'the same locker' ? one : fixture.createLocker();
        const holder = await one.lock('a');
        const controller = new AbortController();
        const between = follow(other.lock('a', { signal: controller.signal }));
        if (other !== one) {
          await fixture.until(async () => {
            expect(await fixture.entries('a')).toHaveLength(2);
          });
        }
        const last = follow(third.lock('a'));
        await fixture.until(async () => {
          expect(await fixture.entries('a')).toHaveLength(other === one ? 2 : 3);
        });

        if (order === 'abort first') controller.abort();
        const released = holder.release();
        // The rounds differ in how far the release has come.
        for (let tick = 1; tick < round; tick += 1) await nextTick();
        controller.abort();
        await released;
        const error = await errorOf(between.promise);
        await between.value?.release();
        const lock = await last.promise;

        if (between.value === undefined) expect(error).toBe(controller.signal.reason);
        await expectHolder(one, lock);
        expect(lock.fencingToken).toBeGreaterThan(holder.fencingToken);
        expect(lock.fencingToken).not.toBe(between.value?.fencingToken);
        await lock.release();
        await expectNoEntry(fixture);
      }
    });

    test('lock() leaves no entry when its time is up at its turn', async () => {
      await using fixture = await open();
      for (let round = 0; round < 5; round += 1) {
        const [one, other, third] = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()];
        const holder = await one.lock('a');
        const between = follow(other.tryLock('a', { timeoutMs: 100 }));
        const last = follow(third.lock('a'));
        await fixture.until(async () => {
          expect((await fixture.entries('a')).length).toBeGreaterThan(1);
        });

        await fixture.pass(98);
        const released = holder.release();
        await fixture.pass(4);
        await released;
        const lock = await between.promise;
        await lock?.release();

        const next = await last.promise;
        await expectHolder(one, next);
        await next.release();
        await expectNoEntry(fixture);
      }
    });
  });
}
