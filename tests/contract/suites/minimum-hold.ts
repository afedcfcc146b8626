/** Contract of minHoldMs. */
import { expect, test } from 'vitest';
import { follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

export function minimumHoldContract(open: OpenFixture): void {
  test('minHoldMs leaves the name taken after a release, and the next waiter gets it at the end', async () => {
    await using fixture = await open();
    const [one, other] = [fixture.createLocker(), fixture.createLocker()];
    const lock = await one.lock('a', { minHoldMs: 900 });
    const { key, fencingToken } = lock;
    const waiting = follow(other.lock('a'));
    await fixture.until(async () => {
      expect(await fixture.entries('a')).toHaveLength(2);
    });

    await lock.release();

    expect(lock.held).toBe(false);
    expect((await other.inspect('a')).holders).toMatchObject([{ key, fencingToken, value: lock.value }]);
    expect([await one.tryLock('a'), await other.tryLock('a')]).toEqual([null, null]);
    await fixture.pass(700);
    expect(waiting.isSettled).toBe(false);
    await fixture.until(() => {
      expect(waiting.isSettled).toBe(true);
    });
    expect(waiting.value?.held).toBe(true);
    expect(waiting.value?.fencingToken).toBeGreaterThan(fencingToken);
  });

  test('minHoldMs outlives a locker that is closed while it holds, and one that is closed during the release', async () => {
    await using fixture = await open();
    const [one, other, observer] = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()];
    const [lock, released] = [await one.lock('a', { minHoldMs: 900 }), await other.lock('b', { minHoldMs: 900 })];

    void released.release();
    await Promise.all([one.close(), other.close()]);

    expect(lock.signal.reason).toMatchObject({ reason: 'closed' });
    expect(await observer.inspect('a')).toMatchObject({ held: true, holders: [{ fencingToken: lock.fencingToken }] });
    expect(await observer.inspect('b')).toMatchObject({ held: true, holders: [{ fencingToken: released.fencingToken }] });
    await fixture.until(async () => {
      expect([await fixture.entries('a'), await fixture.entries('b')]).toEqual([[], []]);
    });
  });
}
