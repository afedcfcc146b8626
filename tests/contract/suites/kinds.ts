/** Contract of the kinds: exclusive locks, shared locks and semaphores on one name. */
import type { Lock, Locker, LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { expectHolder, expectHolders, type Followed, follow } from '../../support/fixtures/holding.ts';
import type { LockerFixture, OpenFixture } from '../../support/fixtures/lockers.ts';

const shared: LockOptions = { mode: 'shared' };

/** Calls lock() for 'a', and waits until its entry is in the queue. */
async function enqueue(fixture: LockerFixture, locker: Locker, value: string, options: LockOptions = {}): Promise<Followed<Lock>> {
  const waiting = follow(locker.lock('a', { ...options, value }));
  await fixture.until(async () => {
    expect(await valuesOf(fixture)).toContain(value);
  });
  return waiting;
}

const valuesOf = async (fixture: LockerFixture): Promise<string[]> => (await fixture.entries('a')).map(({ value }) => value);

/** Puts a foreign entry into the queue of 'a', as `etcdctl lock` does. */
async function putForeign(fixture: LockerFixture): Promise<string> {
  const key = `${fixture.prefix}a/694d8a2f0d8c5b01`;
  await fixture.store.commit({ compare: [], then: [{ put: { key, value: 'etcdctl', leaseId: '0' } }], otherwise: [] });
  return key;
}

/** Asserts that the calls still wait after 50 ms. */
async function expectToWait(fixture: LockerFixture, ...waiting: readonly Followed<unknown>[]): Promise<void> {
  await fixture.pass(50);
  for (const { isSettled } of waiting) expect(isSettled).toBe(false);
}

const promiseOf = (waiting: readonly Followed<Lock>[], index: number): Promise<Lock> =>
  waiting[index]?.promise ?? Promise.reject(new Error(`Cannot find waiter ${String(index)}`));

export function kindContract(open: OpenFixture): void {
  describe('kinds', () => {
    test('shared locks of one or several lockers are held together, each with its own token', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];

      const first = await one.lock('a', { ...shared, value: '1' });
      const second = await other.lock('a', { ...shared, value: '2' });
      const third = await one.lock('a', { ...shared, value: '3' });

      expect(first).toMatchObject({ mode: 'shared', slots: Infinity, value: '1' });
      expect(first.key.endsWith('-shared')).toBe(true);
      await expectHolders(other, first, second, third);
    });

    test('an exclusive lock waits for all earlier shared locks, and later shared locks wait for it', async () => {
      await using fixture = await open();
      const [one, other, third] = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()];
      const readers = [await one.lock('a', shared), await other.lock('a', shared)] as const;
      const writer = await enqueue(fixture, third, 'writer');
      const late = [await enqueue(fixture, one, 'late 1', shared), await enqueue(fixture, other, 'late 2', shared)] as const;

      await expectToWait(fixture, writer, ...late);
      await expectHolders(third, ...readers);
      expect(await third.inspect('a')).toMatchObject({
        waiting: 3,
        waiters: [{ mode: 'exclusive', value: 'writer' }, { mode: 'shared', slots: Infinity, value: 'late 1' }, { value: 'late 2' }],
      });
      // The predecessor of the writer is released first, so the writer has to look again.
      await readers[1].release();
      await expectToWait(fixture, writer, ...late);
      await readers[0].release();
      const lock = await writer.promise;

      await expectToWait(fixture, ...late);
      await expectHolder(one, lock);
      await lock.release();
      await expectHolders(third, await late[0].promise, await late[1].promise);
    });

    test('neither readers nor writers starve when both come in an endless stream', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 4 }, () => fixture.createLocker());
      const served = { exclusive: 0, shared: 0 };
      const inside = { exclusive: 0, shared: 0 };
      const rounds = Math.max(4, fixture.times(20));

      await Promise.all(
        lockers.flatMap((locker, index) =>
          [0, 1].map(async () => {
            const mode = index === 0 ? 'exclusive' : 'shared';
            for (let round = 0; round < rounds; round += 1) {
              await using lock = await locker.lock('a', { mode });
              inside[mode] += 1;
              expect(inside.exclusive === 0 || (inside.exclusive === 1 && inside.shared === 0)).toBe(true);
              await fixture.pass(1);
              expect(lock.held).toBe(true);
              inside[mode] -= 1;
              served[mode] += 1;
            }
          }),
        ),
      );

      expect(served).toEqual({ exclusive: 2 * rounds, shared: 6 * rounds });
    });

    test('a semaphore has as many holders as slots, and admits the next waiter when any holder releases', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const [first, second, third, fourth] = [
        await locker.lock('a', { slots: 4 }),
        await locker.lock('a', { slots: 4 }),
        await fixture.createLocker().lock('a', { slots: 4 }),
        await fixture.createLocker().lock('a', { slots: 4 }),
      ];
      const fifth = await enqueue(fixture, fixture.createLocker(), '5', { slots: 4 });
      const sixth = await enqueue(fixture, fixture.createLocker(), '6', { slots: 4 });

      await expectToWait(fixture, fifth, sixth);
      await second.release();
      const next = await fifth.promise;
      await expectToWait(fixture, sixth);
      await next.release();
      const last = await sixth.promise;

      expect(last).toMatchObject({ mode: 'shared', slots: 4 });
      expect(last.key.endsWith('-of-4')).toBe(true);
      expect((await locker.inspect('a')).holders.map(({ slots }) => slots)).toEqual([4, 4, 4, 4]);
      const { holders } = await locker.inspect('a');
      expect(new Set(holders.map(({ key }) => key))).toEqual(new Set([first, third, fourth, last].map(({ key }) => key)));
    });

    test('a semaphore never has more holders than slots, and serves the callers of one locker in order', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const [inside, most] = [new Set<number>(), { count: 0 }];
      const acquired: { readonly index: number; readonly fencingToken: bigint }[] = [];

      await Promise.all(
        Array.from({ length: 24 }, async (_, index) => {
          const locker = index < 16 ? one : other;
          await using lock = await locker.lock('a', { slots: 3 });
          inside.add(index);
          if (index < 16) acquired.push({ index, fencingToken: lock.fencingToken });
          most.count = Math.max(most.count, inside.size);
          await fixture.pass(1);
          expect(lock.held).toBe(true);
          inside.delete(index);
        }),
      );

      expect(most.count).toBeLessThanOrEqual(3);
      // A caller may be notified late, so the tokens give the order. Three enqueues are sent at once, and any of them may be the first.
      const inOrder = acquired.sort((a, b) => Number(a.fencingToken - b.fencingToken));
      inOrder.forEach(({ index }, at) => {
        expect(Math.abs(index - at)).toBeLessThan(3);
      });
    });

    test.each([
      [{ slots: 2 }, { slots: 3 }],
      [{ slots: 3 }, { slots: 2 }],
      [{ slots: 2 }, shared],
      [shared, { slots: 2 }],
      [{ slots: 2 }, { slots: 1 }],
      [{ slots: 1 }, { slots: 2 }],
    ])('callers with different kinds, %j and %j, exclude each other', async (mine, theirs) => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const first = await one.lock('a', mine);
      const second = await enqueue(fixture, other, 'theirs', theirs);
      const third = await enqueue(fixture, fixture.createLocker(), 'mine again', mine);

      await expectToWait(fixture, second, third);
      await expectHolder(other, first);
      await first.release();
      const lock = await second.promise;
      await expectToWait(fixture, third);
      await expectHolder(one, lock);
      await lock.release();
      await expectHolder(other, await third.promise);
    });

    test('slots: 1 makes an exclusive lock', async () => {
      await using fixture = await open();

      const lock = await fixture.createLocker().lock('a', { slots: 1 });

      expect(lock).toMatchObject({ mode: 'exclusive', slots: 1 });
      expect(lock.key).toMatch(/\/[0-9a-f]+-1$/);
    });

    test.each([[{ mode: 'shared' } as const], [{ slots: 5 }]])(
      'a foreign entry and a lock with %j exclude each other in both orders',
      async (options) => {
        await using fixture = await open();
        const locker = fixture.createLocker();
        const before = await locker.lock('a', { ...options, value: 'before' });
        const foreign = await putForeign(fixture);
        const after = await enqueue(fixture, fixture.createLocker(), 'after', options);

        await expectToWait(fixture, after);
        expect(await locker.inspect('a')).toMatchObject({
          holders: [{ key: before.key, foreign: false }],
          waiters: [{ key: foreign, foreign: true, mode: 'exclusive', slots: 1 }, { value: 'after' }],
        });
        await before.release();
        await expectToWait(fixture, after);
        expect(await locker.inspect('a')).toMatchObject({ holders: [{ key: foreign, foreign: true }] });
        await fixture.deleteKey(foreign);

        await expectHolder(locker, await after.promise);
      },
    );

    test('waiters of all kinds on one name are served in the order of their entries', async () => {
      await using fixture = await open();
      const lockers = Array.from({ length: 3 }, () => fixture.createLocker());
      const holder = await fixture.createLocker().lock('a');
      const kinds: LockOptions[] = [shared, { slots: 2 }, { slots: 2 }, { slots: 2 }, {}, shared, shared, { slots: 3 }, {}, { slots: 2 }];
      const waiting: Followed<Lock>[] = [];
      for (const [index, options] of kinds.entries()) {
        const locker = lockers[index % lockers.length];
        if (locker !== undefined) waiting.push(await enqueue(fixture, locker, String(index), options));
      }
      const [order, observer] = [[] as number[][], fixture.createLocker()];

      await holder.release();
      while (order.flat().length < kinds.length) {
        await fixture.until(async () => {
          expect((await observer.inspect('a')).holders.map(({ value }) => value)).not.toContain('holder');
        });
        const { holders } = await observer.inspect('a');
        const group = holders.map(({ value }) => Number(value));
        order.push(group);
        const locks = await Promise.all(group.map((index) => promiseOf(waiting, index)));
        for (const lock of locks) expect(lock.held).toBe(true);
        const served = waiting.flatMap(({ isSettled }, index) => (isSettled ? [index] : []));
        expect(served).toEqual(order.flat().sort((one, other) => one - other));
        await Promise.all(locks.map((lock) => lock.release()));
      }

      expect(order).toEqual([[0], [1, 2], [3], [4], [5, 6], [7], [8], [9]]);
    });

    test('calls of one locker enqueue in their order when their kinds differ', async () => {
      await using fixture = await open();
      const holder = await fixture.createLocker().lock('a', { value: 'holder' });
      const locker = fixture.createLocker();
      const kinds: LockOptions[] = [{}, shared, shared, { slots: 2 }, { slots: 2 }, shared];

      const waiting = kinds.map((options, index) => follow(locker.lock('a', { ...options, value: String(index) })));
      await fixture.until(async () => {
        expect(await valuesOf(fixture)).toHaveLength(7);
      });
      const values = await valuesOf(fixture);

      // Entries of one kind may be in any order.
      const kindOf = (value: string): string => (['1', '2'].includes(value) ? 'shared' : ['3', '4'].includes(value) ? 'two' : value);
      expect(values.map(kindOf)).toEqual(['holder', '0', 'shared', 'shared', 'two', 'two', '5']);
      await expectToWait(fixture, ...waiting);
      await holder.release();
      for (const { promise } of waiting) await (await promise).release();
    });

    test('an aborted writer no longer excludes the readers behind it', async () => {
      await using fixture = await open();
      const [one, other] = [fixture.createLocker(), fixture.createLocker()];
      const reader = await one.lock('a', shared);
      const controller = new AbortController();
      const writer = follow(other.lock('a', { signal: controller.signal, value: 'writer' }));
      await fixture.until(async () => {
        expect(await valuesOf(fixture)).toContain('writer');
      });
      const behind = follow(other.lock('a', { ...shared, value: 'behind' }));
      const third = follow(one.lock('a', { ...shared, value: 'third' }));
      await expectToWait(fixture, behind, third);

      controller.abort();
      const locks = await Promise.all([behind.promise, third.promise]);

      expect(writer.error).toBe(controller.signal.reason);
      expect(reader.held && locks.every(({ held }) => held)).toBe(true);
      expect((await one.inspect('a')).holders).toHaveLength(3);
    });

    test('release() of a semaphore hands over one slot, and keeps the other holders', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const [first, second] = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
      const third = follow(locker.lock('a', { slots: 2 }));
      await expectToWait(fixture, third);
      expect(await fixture.entries('a')).toHaveLength(2);

      await first.release();

      await expectHolders(locker, second, await third.promise);
    });

    test('setValue() and a loss affect only one shared holder', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker({ ttlMs: 2_000 });
      const [first, second] = [await locker.lock('a', { ...shared, value: '1' }), await locker.lock('a', { ...shared, value: '2' })];

      await first.setValue('new');
      await expectHolders(locker, first, second);
      await fixture.deleteKey(first.key);
      await fixture.pass(900);
      await fixture.until(() => {
        expect(first.signal.reason).toMatchObject({ reason: 'deleted' });
      });

      expect(first.held).toBe(false);
      await expectHolder(locker, second);
    });

    test('watch() reports each shared holder that comes and goes', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const states = observer.watch('a');
      await states.next();
      const seen: unknown[] = [];
      const see = async (): Promise<void> => {
        const { value } = (await states.next()) as IteratorYieldResult<Awaited<ReturnType<Locker['inspect']>>>;
        seen.push(value.holders.map((one) => [one.value, one.mode, one.slots]));
      };

      const first = await locker.lock('a', { ...shared, value: '1' });
      await see();
      const second = await locker.lock('a', { ...shared, value: '2' });
      await see();
      await first.release();
      await see();
      const third = follow(locker.lock('a', { slots: 2, value: '3' }));
      await second.release();
      await third.promise;
      await fixture.until(async () => {
        await see();
        expect(seen.at(-1)).toEqual([['3', 'shared', 2]]);
      });
      await states.return();

      const one = ['1', 'shared', Infinity];
      const two = ['2', 'shared', Infinity];
      expect(seen.slice(0, 3)).toEqual([[one], [one, two], [two]]);
    });
  });
}
