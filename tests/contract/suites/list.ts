import type { LockState } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { errorOf, follow } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

async function collect(states: AsyncIterable<LockState>): Promise<LockState[]> {
  const all: LockState[] = [];
  for await (const state of states) all.push(state);
  return all;
}

const put = (fixture: LockerFixture, ...keys: string[]) =>
  fixture.store.commit({
    compare: [],
    then: keys.map((key) => ({ put: { key: fixture.prefix + key, value: 'x', leaseId: '0' } })),
    otherwise: [],
  });

export function listContract(open: OpenFixture): void {
  describe('list()', () => {
    test('list() reports every held name, in the order of the keys, with its holders and the number of waiters', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const all = await one.lockAll(['orders/2', 'ö', 'b', 'orders/10', '😀'], { value: 'all' });
      const readers = [await one.lock('a', { mode: 'shared' }), await other.lock('a', { mode: 'shared' })];
      const waiting = follow(other.lock('b'));
      await fixture.until(async () => {
        expect((await one.inspect('b')).waiting).toBe(1);
      });

      const states = await collect(other.list());

      expect(states.map(({ name }) => name)).toEqual(['ö', '😀', 'a', 'b', 'orders/10', 'orders/2']);
      expect(states.find(({ name }) => name === 'a')).toMatchObject({
        held: true,
        holders: readers.map(({ key, fencingToken }) => ({ key, fencingToken, mode: 'shared', foreign: false })),
        waiting: 0,
      });
      expect(states.find(({ name }) => name === 'b')).toMatchObject({ held: true, holders: [{ value: 'all' }], waiting: 1 });
      await all.release();
      await waiting.promise;
    });

    test('list() reports only names that begin with startsWith', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await locker.lockAll(['a', 'a/b', 'ab', 'a~', 'b', 'a%', 'á', '😀', '😁', 'a😀']);
      const list = async (startsWith: string) => (await collect(locker.list({ startsWith }))).map(({ name }) => name);

      expect(new Set(await list('a'))).toEqual(new Set(['a', 'a/b', 'ab', 'a~', 'a%', 'a😀']));
      expect(await list('a/')).toEqual(['a/b']);
      expect(await list('a%')).toEqual(['a%']);
      expect(await list('ab')).toEqual(['ab']);
      expect(await list('😀')).toEqual(['😀']);
      expect(await list('c')).toEqual([]);
      expect(await list('')).toHaveLength(10);
    });

    test('list() marks foreign entries, and ignores keys that are in no queue', async () => {
      await using fixture = await open();
      await put(fixture, 'a/1234', 'a', 'b%2fc/1', 'd/e/f', 'config');
      const locker = fixture.createLocker();
      await locker.lock('z');

      const states = await collect(locker.list());

      expect(states.map(({ name, holders }) => [name, holders.map(({ foreign }) => foreign)])).toEqual([
        ['a', [true]],
        ['d', [true]],
        ['z', [false]],
      ]);
      for (const key of ['a/1234', 'a', 'b%2fc/1', 'd/e/f', 'config']) await fixture.deleteKey(fixture.prefix + key);
    });

    test('list() reports each name once, even if a page ends within its queue', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const names = Array.from({ length: 150 }, (_, index) => `n${String(index).padStart(3, '0')}`);
      await Promise.all(names.flatMap((name) => [1, 2, 3].map(() => locker.lock(name, { mode: 'shared' }))));
      await Promise.all(Array.from({ length: 450 }, () => locker.lock('large', { mode: 'shared' })));

      const states = await collect(locker.list());

      expect(states.map(({ name }) => name)).toEqual(['large', ...names]);
      expect(states.map(({ holders }) => holders.length)).toEqual([450, ...names.map(() => 3)]);
    });

    test('list() reports each name that is held throughout the listing, while other names change', async () => {
      await using fixture = await open();
      const [locker, other] = [fixture.createLocker(), fixture.createLocker()];
      const name = (index: number): string => `n${String(index).padStart(3, '0')}`;
      const all = await locker.lockAll(Array.from({ length: 250 }, (_, index) => name(2 * index)));
      const seen: string[] = [];

      for await (const state of locker.list()) {
        seen.push(state.name);
        if (seen.length === 3) await other.lockAll(Array.from({ length: 250 }, (_, index) => name(2 * index + 1)));
        if (seen.length === 5) await all.locks[249]?.release();
      }

      expect(new Set(seen).size).toBe(seen.length);
      expect(seen).toEqual([...seen].sort());
      for (let index = 0; index < 249; index += 1) expect(seen).toContain(name(2 * index));
      expect(seen).not.toContain(name(498));
      await all.release();
    });

    test('list() reports nothing if nothing is held', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await (await locker.lock('a')).release();

      expect(await collect(locker.list())).toEqual([]);
    });

    test('list() throws for invalid options, and rejects after the locker was closed', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await locker.lockAll(['a', 'b']);
      const states = locker.list();

      expect(() => locker.list({ startsWith: 7 as never })).toThrow(/startsWith/);
      expect(() => locker.list({ prefix: 'a' } as never)).toThrow(/unknown option/);
      await locker.close();

      expect(() => locker.list()).toThrow(/closed/);
      expect(await errorOf(states.next())).toMatchObject({ code: 'LOCKER_CLOSED' });
    });
  });
}
