/** Contract of keepMs. */
import { expect, test } from 'vitest';
import { expectHolder, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

const options = { keepMs: 60_000 };

export function keptContract(open: OpenFixture): void {
  test('keepMs keeps the entry after a release, for the next calls of the same locker alone', async () => {
    await using fixture = await open();
    const [keeper, other] = [fixture.createLocker(), fixture.createLocker()];
    const first = await keeper.lock('a', options);
    await first.release();

    expect(await other.tryLock('a')).toBeNull();
    expect(await other.inspect('a')).toMatchObject({ held: true, waiting: 0, holders: [{ fencingToken: first.fencingToken }] });
    const again = await keeper.tryLock('a', options);
    expect(again).toMatchObject({ held: true, key: first.key, fencingToken: first.fencingToken });
    expect(first.held).toBe(false);
    await again?.release();
    const [left, right] = [keeper.lock('a', options), keeper.lock('a', options)];
    await (await left).release();
    expect((await right).fencingToken).toBe(first.fencingToken);
  });

  test('keepMs ends as soon as another locker waits, also one that waited before the release', async () => {
    await using fixture = await open();
    const [keeper, other] = [fixture.createLocker(), fixture.createLocker()];
    const first = await keeper.lock('a', options);
    const early = follow(other.lock('a'));
    await fixture.until(async () => {
      expect(await fixture.entries('a')).toHaveLength(2);
    });
    await first.release();
    const second = await early.promise;
    await second.release();
    await (await keeper.lock('b', options)).release();

    const late = await other.lock('b');

    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
    await expectHolder(keeper, late);
    expect(await keeper.tryLock('b', options)).toBeNull();
  });

  test('keepMs ends after its time, and with the locker', async () => {
    await using fixture = await open();
    const [keeper, other] = [fixture.createLocker(), fixture.createLocker()];
    await (await keeper.lock('a', { keepMs: 300 })).release();
    await (await keeper.lock('b', options)).release();

    await fixture.until(async () => {
      expect(await fixture.entries('a')).toEqual([]);
    });
    expect(await fixture.entries('b')).toHaveLength(1);
    await keeper.close();

    expect((await other.tryLock('b'))?.held).toBe(true);
  });

  test('keepMs ends with a deletion of the entry by others, and the next caller gets another one', async () => {
    await using fixture = await open();
    const [keeper, operator] = [fixture.createLocker(), fixture.createLocker()];
    const first = await keeper.lock('a', options);
    await first.release();

    expect(await operator.breakLock('a')).toMatchObject([{ fencingToken: first.fencingToken }]);

    await fixture.until(async () => {
      await using lock = await keeper.lock('a', options);
      expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
    });
  });

  test('keepMs counts for tryLockAll() and lockAll(), whose other names are taken beside the kept ones', async () => {
    await using fixture = await open();
    const [keeper, other] = [fixture.createLocker(), fixture.createLocker()];
    const first = await keeper.lock('a', options);
    await first.release();

    const some = await keeper.tryLockAll(['b', 'a'], options);
    expect(some?.locks.map(({ name, held }) => [name, held])).toEqual([
      ['b', true],
      ['a', true],
    ]);
    expect(some?.locks[1]?.fencingToken).toBe(first.fencingToken);
    await some?.release();
    expect((await fixture.entries('b')).length + (await fixture.entries('a')).length).toBe(2);
    const all = await keeper.lockAll(['a', 'b'], options);
    expect(all.locks[0]?.fencingToken).toBe(first.fencingToken);
    await all.release();
    await other.lock('c');
    expect(await keeper.tryLockAll(['a', 'c'], options)).toBeNull();
    expect((await keeper.tryLock('a', options))?.fencingToken).toBe(first.fencingToken);
  });

  test('keepMs writes the value of the next caller before it gets the lock', async () => {
    await using fixture = await open();
    const keeper = fixture.createLocker();
    const first = await keeper.lock('a', { ...options, value: 'one' });
    await first.release();

    const second = await keeper.lock('a', { ...options, value: 'two' });

    expect(await fixture.entries('a')).toMatchObject([{ value: 'two', createRevision: first.fencingToken }]);
    expect([first.value, second.value]).toEqual(['one', 'two']);
  });
}
