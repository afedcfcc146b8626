/** Contract of names: any text up to 1024 bytes, and each name for itself. */
import { describe, expect, test } from 'vitest';
import { errorOf, expectHolder } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

const names = ['a', 'a/b', 'a/', '/a', 'a0', 'ä/😀', '..', '%2F', '/', '@sessions', 'x'.repeat(1024), 'x'.repeat(1023), '\0', ' '];

export function nameContract(open: OpenFixture): void {
  describe('names', () => {
    test('locks of different names are independent', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];

      const locks = await Promise.all(names.map((name) => locker.lock(name, { value: name.slice(0, 20) })));

      expect(new Set(locks.map(({ key }) => key)).size).toBe(names.length);
      for (const lock of locks) {
        await expectHolder(other, lock);
        expect(await other.tryLock(lock.name)).toBeNull();
      }
      await Promise.all(locks.map((lock) => lock.release()));
      const again = await Promise.all(names.map((name) => other.tryLock(name)));
      expect(again.map((lock) => lock?.name)).toEqual(names);
    });

    test.each([
      ['empty', ''],
      ['too long', 'x'.repeat(1025)],
      ['too long in UTF-8', 'ä'.repeat(513)],
      ['malformed', 'a\uD800'],
    ])('each method rejects a name that is %s', async (_, name) => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      const errors = await Promise.all([
        errorOf(locker.lock(name)),
        errorOf(locker.tryLock(name)),
        errorOf(locker.withLock(name, () => 1)),
        errorOf(locker.inspect(name)),
        errorOf((async () => locker.watch(name).next())()),
      ]);

      for (const error of errors) expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'name' }] });
      expect(await fixture.gates()).toEqual([]);
    });
  });
}
