import type { Lock, LockOptions } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  answeredAfter,
  type FaultyMemory,
  calls,
  hangs,
  lostAnswer,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { type Fate, follow } from '../support/fixtures/holding.ts';

const shared: LockOptions = { mode: 'shared' };

/** The values of the entries of 'a', oldest first. */
const valuesOf = (memory: FaultyMemory): string[] => memory.entries('a').map(({ value }) => value);

const putForeign = (memory: FaultyMemory): (() => void) => {
  const key = 'locks/a/1234';
  memory.etcd.commit({ compare: [], then: [{ put: { key, value: 'foreign', leaseId: '0' } }], otherwise: [] });
  return () => {
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  };
};

async function releaseInTurn(waiting: readonly Fate<Lock>[]): Promise<void> {
  for (const { promise } of waiting) await (await promise).release();
}

describe('kinds in one process', () => {
  test('a later caller does not overtake an earlier one of another kind whose creation is under way, nor do those after it', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open');
    memory.store.next(calls.creation, after(memory.clock, 1_000));

    const waiting = [
      follow(locker.lock('a', { value: 'writer' })),
      follow(locker.lock('a', { ...shared, value: 'reader' })),
      follow(locker.lock('a', { ...shared, value: 'reader' })),
      follow(locker.lock('a', { slots: 2, value: 'two' })),
      follow(locker.lock('a', { slots: 2, value: 'two' })),
      follow(locker.lock('a', { ...shared, value: 'late' })),
    ];
    await memory.clock.advance(900);
    expect(valuesOf(memory)).toEqual(['holder']);
    await memory.clock.advance(200);

    expect(valuesOf(memory)).toEqual(['holder', 'writer', 'reader', 'reader', 'two', 'two', 'late']);
    await holder.release();
    await releaseInTurn(waiting);
  });

  test('who waits for an earlier caller to stand goes on when that one gives up before', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open');
    const controller = new AbortController();
    memory.store.next(calls.creation, hangs);
    const writer = follow(locker.lock('a', { value: 'writer', signal: controller.signal }));
    const reader = follow(locker.lock('a', { ...shared, value: 'reader' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder']);

    controller.abort();
    await memory.clock.advance(10);

    expect(writer.error).toBe(controller.signal.reason);
    expect(valuesOf(memory)).toEqual(['holder', 'reader']);
    await holder.release();
    await memory.clock.settle();
    expect(reader.value?.held).toBe(true);
  });

  test('who was behind an heir gets a place of its own, and not before the heir', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    await locker.lock('open', { ttlMs: 30_000 });
    const controller = new AbortController();
    const quits = follow(locker.lock('a', { value: 'quits', signal: controller.signal }));
    // It cannot use the place, as its lease is another: it needs an entry of its own.
    const heir = follow(locker.lock('a', { value: 'heir', ttlMs: 30_000 }));
    const reader = follow(locker.lock('a', { ...shared, value: 'reader' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'quits']);
    memory.store.next(calls.creation, after(memory.clock, 500));

    controller.abort();
    await memory.clock.advance(1_000);

    expect(quits.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'heir', 'reader']);
    await holder.release();
    await releaseInTurn([heir, reader]);
  });

  test('no heir gets a place before a caller of another kind that was there before it', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const quits = follow(locker.lock('a', { slots: 2, value: 'quits', signal: controller.signal }));
    const two = follow(locker.lock('a', { slots: 2, value: 'two' }));
    const writer = follow(locker.lock('a', { value: 'writer' }));
    // Of the kind of who quits, but the writer came before it.
    const heir = follow(locker.lock('a', { slots: 2, value: 'heir' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'quits', 'two', 'writer']);

    controller.abort();
    await memory.clock.advance(100);

    expect(quits.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'two', 'writer', 'heir']);
    await holder.release();
    await releaseInTurn([two, writer, heir]);
  });

  test('a place goes to no caller of another kind', async () => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a', { value: 'holder' });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const writer = follow(locker.lock('a', { value: 'writer' }));
    const quits = follow(locker.lock('a', { ...shared, value: 'quits', signal: controller.signal }));
    const next = follow(locker.lock('a', { value: 'next' }));
    await memory.clock.advance(100);
    expect(valuesOf(memory)).toEqual(['holder', 'writer', 'quits']);

    controller.abort();
    await memory.clock.advance(100);
    expect(quits.isSettled).toBe(true);
    expect(valuesOf(memory)).toEqual(['holder', 'writer']);
    await holder.release();
    await releaseInTurn([writer]);
    await memory.clock.settle();

    expect(next.value?.mode).toBe('exclusive');
  });

  test('a hand-over does not overtake an earlier caller of another kind that does not stand yet', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [one, two] = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
    memory.store.next(calls.creation, after(memory.clock, 1_000));
    const writer = follow(locker.lock('a', { value: 'writer' }));
    const third = follow(locker.lock('a', { slots: 2, value: 'third' }));
    await memory.clock.advance(100);

    await one.release();
    await memory.clock.advance(2_000);

    expect(valuesOf(memory).slice(1)).toEqual(['writer', 'third']);
    await two.release();
    await releaseInTurn([writer, third]);
  });

  test('a semaphore hands over to the next in line in one commit', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [one, two] = [await locker.lock('a', { slots: 2 }), await locker.lock('a', { slots: 2 })];
    const third = follow(locker.lock('a', { slots: 2 }));
    const before = memory.store.calls.length;

    await one.release();
    await memory.clock.settle();

    expect(memory.store.calls.slice(before).map(calls.handOver)).toEqual([true]);
    expect(third.value?.held).toBe(true);
    expect(two.held).toBe(true);
  });

  test('a writer behind readers is told of none but the one before it, and looks once for each that is gone', async () => {
    await using memory = await openFaultyMemory();
    const readers = await Promise.all(Array.from({ length: 10 }, () => memory.createLocker().lock('a', shared)));
    const writer = follow(memory.createLocker().lock('a'));
    await memory.clock.advance(100);
    const before = memory.store.count(calls.read);

    // From the front: those are not in the way of anybody.
    for (const reader of readers.slice(0, 9)) await reader.release();
    await memory.clock.advance(100);
    expect(memory.store.count(calls.read) - before).toBe(0);
    await readers[9]?.release();
    await memory.clock.settle();

    expect(memory.store.count(calls.read) - before).toBe(1);
    expect(writer.value?.held).toBe(true);
  });

  test('a waiter for a slot looks only once enough of those before it are gone', async () => {
    await using memory = await openFaultyMemory();
    const holders = await Promise.all([0, 1, 2].map(() => memory.createLocker().lock('a', { slots: 3 })));
    const [fourth, sixth] = [memory.createLocker(), memory.createLocker()];
    const waiting = [follow(fourth.lock('a', { slots: 3 }))];
    await memory.clock.advance(100);
    const five = follow(memory.createLocker().lock('a', { slots: 3 }));
    await memory.clock.advance(100);
    waiting.push(five, follow(sixth.lock('a', { slots: 3 })));
    await memory.clock.advance(100);
    const before = memory.store.count(calls.read);

    await holders[1]?.release();
    await memory.clock.advance(100);

    expect(memory.store.count(calls.read) - before).toBe(1);
    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, false, false]);
    await holders[0]?.release();
    await holders[2]?.release();
    await memory.clock.advance(100);
    expect(waiting.every(({ value }) => value?.held === true)).toBe(true);
  });

  test.each([
    ['the request', lostRequest],
    ['the answer', lostAnswer],
  ])('a shared entry whose creation lost %s is there once', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', shared);
    memory.store.next(calls.creation, fault);

    const second = await locker.lock('a', shared);

    expect(second.held).toBe(true);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([first.key, second.key]);
  });
});

describe('tryLock() of a kind that others may hold too', () => {
  test('takes two commits, and none where somebody of the same locker is in the way', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('a', shared);
    const before = memory.store.calls.length;

    expect(await locker.tryLock('a', shared)).not.toBeNull();
    expect(memory.store.calls.length - before).toBe(2);
    expect(await locker.tryLock('a')).toBeNull();

    expect(memory.store.calls.length - before).toBe(2);
  });

  test('never puts an entry where a foreign one, or one of another kind, is in the queue', async () => {
    await using memory = await openFaultyMemory();
    const remove = putForeign(memory);

    expect(await memory.createLocker().tryLock('a', shared)).toBeNull();

    expect(memory.store.count(calls.creation)).toBe(0);
    remove();
  });

  test('sees who came between its look and its creation, and joins after three conflicts as any other', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('open');
    const others: Promise<Lock>[] = [];
    const intruder = async (send: () => Promise<unknown>): Promise<unknown> => {
      const answer = await send();
      others.push(other.lock('a', shared));
      await others.at(-1);
      return answer;
    };
    await locker.lock('open too', shared);
    const read = (call: Parameters<typeof calls.read>[0]): boolean => calls.read(call) && others.length < 3;
    memory.store.next(read, intruder, intruder, intruder);

    const lock = await locker.tryLock('a', shared);

    expect(others).toHaveLength(3);
    expect(lock?.held).toBe(true);
    expect(memory.entries('a')).toHaveLength(4);
  });

  test('leaves nothing where a writer came first after three conflicts', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    await other.lock('open');
    let count = 0;
    const intruder = async (send: () => Promise<unknown>): Promise<unknown> => {
      const answer = await send();
      count += 1;
      if (count === 4) void other.lock('a', { value: 'writer' }).catch(() => undefined);
      else await other.lock('a', shared);
      await memory.clock.settle();
      return answer;
    };
    await locker.lock('open too', shared);
    const read = (call: Parameters<typeof calls.read>[0]): boolean => calls.read(call) && count < 4;
    memory.store.next(read, intruder, intruder, intruder, intruder);

    expect(await locker.tryLock('a', shared)).toBeNull();
    await memory.clock.settle();

    expect(count).toBe(4);
    expect(valuesOf(memory)).toHaveLength(4);
    expect(valuesOf(memory).at(-1)).toBe('writer');
  });

  test.each([
    ['the request', lostRequest],
    ['the answer', lostAnswer],
  ])('has its lock, once, where the creation lost %s', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a', { slots: 2 });
    memory.store.next(calls.creation, fault);

    const second = await memory.createLocker().tryLock('a', { slots: 2 });

    expect(second?.held).toBe(true);
    expect(memory.entries('a').map(({ key }) => key)).toEqual([first.key, second?.key]);
  });

  test('does not hold what was answered only when its deadline was near', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 2_000 });
    await locker.lock('open too', shared);
    memory.store.next(calls.creation, answeredAfter(memory.clock, 3_000));
    const tried = follow(locker.tryLock('a', shared));

    await memory.clock.advance(3_100);

    expect(tried.isSettled && (tried.value === null || tried.value?.held === true)).toBe(true);
    await memory.clock.advance(100);
    if (tried.value !== null && tried.value !== undefined) {
      expect(memory.entries('a').map(({ key }) => key)).toEqual([tried.value.key]);
      expect(tried.value.remainingMs).toBeGreaterThan(600);
    }
  });
});
