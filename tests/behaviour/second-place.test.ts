/** Tests of the second place: a deletion admits the waiter that has nothing else in its way, without another request. */
import type { LockOptions, WatchRequest } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { internalsOf } from '../../src/locker/internals.ts';
import { calls, type FaultyMemory, hangs, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

/** Lets lockers of their own enqueue, one after the other. */
async function enqueue(memory: FaultyMemory, ...options: LockOptions[]) {
  const waiting = [];
  for (const one of options) {
    waiting.push(follow(memory.createLocker().lock('a', one)));
    await memory.clock.settle();
  }
  return waiting;
}

const keysOf = (memory: FaultyMemory): string[] => memory.entries('a').map(({ key }) => key);
const commitsOf = (memory: FaultyMemory): number => memory.store.count(calls.commit);
const looksOf = (memory: FaultyMemory): number => memory.store.count(calls.read);

function remove(memory: FaultyMemory, ...keys: (string | undefined)[]): void {
  memory.etcd.commit({ compare: [], then: keys.map((key) => ({ delete: { key: key ?? '' } })), otherwise: [] });
}

const shared = { mode: 'shared' } as const;

describe('the second waiter', () => {
  test.each([
    ['a lock', {}, {}],
    ['a reader behind a writer', {}, shared],
    ['a writer behind a reader', shared, {}],
    ['a caller for a slot behind a writer', {}, { slots: 2 }],
  ])('holds by the deletion of the holder, without a request: %s', async (_, first, second) => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, first, second);
    const token = memory.entries('a')[1]?.createRevision;
    const before = commitsOf(memory);

    remove(memory, holder?.value?.key);
    await memory.clock.settle();

    expect(waiter?.value?.fencingToken).toBe(token);
    expect(commitsOf(memory) - before).toBe(0);
  });

  test('was the third, and has looked once', async () => {
    await using memory = await openFaultyMemory();
    const [first, second, third] = await enqueue(memory, {}, {}, {});
    const before = looksOf(memory);

    await first?.value?.release();
    await memory.clock.settle();
    expect(second?.value?.held).toBe(true);
    expect(looksOf(memory) - before).toBe(1);
    const commits = commitsOf(memory);
    await second?.value?.release();
    await memory.clock.settle();

    expect(third?.value?.held).toBe(true);
    // The release alone.
    expect(commitsOf(memory) - commits).toBe(1);
  });

  test('was the third, and looks once though other names change meanwhile: its own entry is watched before that look', async () => {
    await using memory = await openFaultyMemory();
    const [first, second, third] = await enqueue(memory, {}, {}, {});
    const before = looksOf(memory);
    memory.store.next(calls.read, respondsAfter(memory.clock, 50));

    await first?.value?.release();
    await memory.clock.settle();
    await memory.createLocker().lock('b');
    await memory.clock.advance(100);
    await second?.value?.release();
    await memory.clock.settle();

    expect(third?.value?.held).toBe(true);
    expect(looksOf(memory) - before).toBe(1);
  });

  test.each([
    ['the one before it leaves', 1],
    ['the one before that leaves', 0],
  ])('looks, and does not hold beside the holder: %s', async (_, index) => {
    await using memory = await openFaultyMemory();
    const [first, ...others] = await enqueue(memory, {}, {}, {}, {});
    const last = others[2];
    const leaver = keysOf(memory)[index + 1];
    const before = looksOf(memory);

    remove(memory, leaver);
    await memory.clock.settle();

    // The one that lost its entry comes back behind the last.
    expect(last?.isSettled).toBe(false);
    expect(looksOf(memory) - before).toBeGreaterThanOrEqual(1);
    await first?.value?.release();
    await memory.clock.settle();
    expect([first, ...others].filter((one) => one?.value?.held === true)).toHaveLength(1);
    expect(last?.isSettled).toBe(false);
  });

  test('looks when the lease of the one before the last ends, and holds after the last', async () => {
    await using memory = await openFaultyMemory();
    const [first, second, third] = await enqueue(memory, {}, {}, {});

    memory.etcd.revoke(first?.value?.leaseId ?? '');
    await memory.clock.settle();
    expect([second?.value?.held, third?.isSettled]).toEqual([true, false]);
    await second?.value?.release();
    await memory.clock.settle();

    expect(third?.value?.held).toBe(true);
  });

  test('watches three keys at most, and far back two', async () => {
    await using memory = await openFaultyMemory();
    const waiting = await enqueue(memory, ...Array.from({ length: 10 }, () => ({})));
    const keys = keysOf(memory);

    // The second watches the holder and itself. The others watch the two before them.
    expect(memory.store.watchedKeys).toHaveLength(2 * 9);
    expect(memory.store.watchedKeys.slice(-2)).toEqual([keys[8], keys[7]]);
    for (const one of waiting) await (await one.promise).release();
  });

  test('holds by a deletion that is reported while a look is under way, whose response changes nothing', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, { ttlMs: 600_000 }, {});
    // The slow look finds the holder, and its response takes long.
    memory.store.next(calls.read, respondsAfter(memory.clock, 3_000));
    await memory.clock.advance(6_000);
    expect(looksOf(memory)).toBe(1);

    remove(memory, holder?.value?.key);
    await memory.clock.settle();
    expect(waiter?.value?.held).toBe(true);
    await memory.clock.advance(3_000);

    expect(waiter?.value?.held).toBe(true);
    expect(looksOf(memory)).toBe(1);
  });

  test('looks again if one of two was deleted after the look that found both, while that was under way', async () => {
    await using memory = await openFaultyMemory();
    const waiting = await enqueue(memory, {}, {}, {}, {});
    const keys = keysOf(memory);
    memory.store.next(calls.read, respondsAfter(memory.clock, 1_000));

    // The look of the fourth finds the first and the second only.
    remove(memory, keys[2]);
    await memory.clock.settle();
    remove(memory, keys[1]);
    await memory.clock.advance(1_100);
    // The second look has found the first only.
    const stop = memory.store.every(calls.read, hangs);
    remove(memory, keys[0]);
    await memory.clock.settle();
    stop();

    expect(waiting[3]?.value?.fencingToken).toBe(memory.entries('a')[0]?.createRevision);
  });

  test('holds by a deletion after the look that is answered later, also if its entry needs another value first', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, { ttlMs: 600_000 });
    const locker = memory.createLocker();
    const controller = new AbortController();
    const first = follow(locker.lock('a', { value: 'first', signal: controller.signal }));
    await memory.clock.settle();
    const heir = follow(locker.lock('a', { value: 'heir' }));
    memory.store.next(calls.read, respondsAfter(memory.clock, 3_000));
    await memory.clock.advance(6_000);
    controller.abort();

    remove(memory, holder?.value?.key);
    await memory.clock.settle();
    expect([first.error, heir.isSettled]).toEqual([controller.signal.reason, false]);
    await memory.clock.advance(3_000);

    expect(heir.value?.value).toBe('heir');
    expect(looksOf(memory)).toBe(1);
  });

  test('does not hold after a break by what it knew before', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    memory.store.next(calls.read, respondsAfter(memory.clock, 3_000));
    memory.store.breakWatches();
    memory.store.restoreWatches();
    await memory.clock.settle();

    remove(memory, holder?.value?.key);
    await memory.clock.settle();
    expect(waiter?.isSettled).toBe(false);
    await memory.clock.advance(3_000);

    expect(waiter?.value?.held).toBe(true);
  });

  test('ignores a deletion that is no newer than its look: an earlier entry may have had the key', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    const before = commitsOf(memory);

    memory.store.reportDeletion(holder?.value?.key ?? '', memory.entries('a')[1]?.createRevision ?? 0n);
    memory.store.reportDeletion(keysOf(memory)[1] ?? '', memory.entries('a')[1]?.createRevision ?? 0n);
    await memory.clock.settle();

    expect(waiter?.isSettled).toBe(false);
    expect(commitsOf(memory) - before).toBe(0);
    await holder?.value?.release();
    await memory.clock.settle();
    expect(waiter?.value?.held).toBe(true);
  });

  test('looks after a break of its watches, and holds by a deletion after that', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    memory.store.breakWatches();
    const before = looksOf(memory);
    memory.store.restoreWatches();
    await memory.clock.settle();
    expect(looksOf(memory) - before).toBeGreaterThanOrEqual(1);
    const commits = commitsOf(memory);

    await holder?.value?.release();
    await memory.clock.settle();

    expect(waiter?.value?.held).toBe(true);
    expect(commitsOf(memory) - commits).toBe(1);
  });
});

describe('the own entry of a waiter', () => {
  test('that is deleted before its watch begins is missed by a look, and the waiter enqueues again', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, {});
    memory.store.breakWatches();
    const [waiter] = await enqueue(memory, {});
    const token = memory.entries('a')[1]?.createRevision ?? 0n;
    remove(memory, keysOf(memory)[1]);

    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(memory.entries('a')[1]?.createRevision).toBeGreaterThan(token);
    await holder?.value?.release();
    await memory.clock.settle();
    expect(waiter?.value?.fencingToken).toBe(memory.entries('a')[0]?.createRevision);
  });

  test('that is deleted before its watch begins is not admitted by the end of the holder, while the look for that is under way', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, {});
    memory.store.next(calls.creation, respondsAfter(memory.clock, 50));
    const [waiter] = await enqueue(memory, {});
    remove(memory, keysOf(memory)[1]);
    const stopDelay = memory.store.every(calls.read, respondsAfter(memory.clock, 100));
    // Its watches begin now, at a later revision than the creation.
    await memory.clock.advance(60);

    await holder?.value?.release();
    await memory.clock.settle();
    expect(waiter?.isSettled).toBe(false);
    stopDelay();
    await memory.clock.advance(200);

    expect(waiter?.value?.fencingToken).toBe(memory.entries('a')[0]?.createRevision);
  });

  test('is not watched yet when the holder releases: the waiter looks', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, {});
    const release = memory.store.delayWatches(({ isBackground, deletesOnly }) => isBackground === true && deletesOnly === true);
    const [waiter] = await enqueue(memory, {});
    const before = looksOf(memory);

    await holder?.value?.release();
    await memory.clock.settle();

    expect(waiter?.value?.held).toBe(true);
    expect(looksOf(memory) - before).toBe(1);
    release();
  });

  test.each(['first', 'last'])('and the holder’s are deleted in one revision, and the own deletion is reported %s', async (order) => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    const [holderKey, key] = keysOf(memory);
    const release = memory.store.delayWatches((request) => request.key === (order === 'first' ? holderKey : key));

    remove(memory, holderKey, key);
    await memory.clock.settle();
    const early = waiter?.value;
    release();
    await memory.clock.settle();

    if (order === 'first') {
      // It has come back with another entry.
      expect(early?.held).toBe(true);
      expect(early?.fencingToken).toBe(memory.entries('a')[0]?.createRevision);
    } else {
      // A window of a theft: it ends with the deletion of the own entry.
      expect(early?.held).toBe(false);
      expect(early?.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    }
    expect(holder?.value?.key).toBe(holderKey);
  });

  test('of a semaphore comes first, in the watch of the queue', async () => {
    await using memory = await openFaultyMemory();
    const [one, , waiter] = await enqueue(memory, { slots: 2 }, { slots: 2 }, { slots: 2 });
    const key = keysOf(memory)[2];
    const before = memory.entries('a')[2]?.createRevision ?? 0n;

    remove(memory, one?.value?.key, key);
    await memory.clock.settle();

    // It holds with another entry.
    expect(waiter?.value?.fencingToken).toBeGreaterThan(before);
    expect(waiter?.value?.held).toBe(true);
  });

  test('is watched until the first beat of the hold, and read after a break', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    await holder?.value?.release();
    await memory.clock.settle();
    const { key } = await (waiter?.promise ?? Promise.reject(new Error('no waiter')));
    expect(memory.store.watchedKeys).toEqual([key]);
    const before = looksOf(memory);
    memory.store.breakWatches();
    memory.store.restoreWatches();
    await memory.clock.settle();
    expect(looksOf(memory) - before).toBe(1);
    expect(waiter?.value?.held).toBe(true);

    await memory.clock.advance(10_000);

    expect(memory.store.watchedKeys).toEqual([]);
    expect(waiter?.value?.held).toBe(true);
  });

  test('is not watched any longer by a hold without renewal, which has no beat', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, { renew: false });
    await holder?.value?.release();
    await memory.clock.settle();
    expect(waiter?.value?.held).toBe(true);

    await memory.clock.advance(5_000);

    expect(waiter?.value?.held).toBe(true);
    expect(memory.store.watchedKeys).toEqual([]);
  });

  test('ends the hold at once when it is deleted before the first beat', async () => {
    await using memory = await openFaultyMemory();
    const [holder, waiter] = await enqueue(memory, {}, {});
    await holder?.value?.release();
    await memory.clock.settle();

    remove(memory, waiter?.value?.key);
    await memory.clock.settle();

    expect(waiter?.value?.signal.aborted).toBe(true);
  });
});

test.each([
  ['readers', shared],
  ['callers for a slot', { slots: 3 }],
])('three %s of one locker get their locks in the order of their calls, whichever watch reports the deletion first', async (_, options) => {
  await using memory = await openFaultyMemory();
  const [writer] = await enqueue(memory, {});
  const locker = memory.createLocker();
  const order: number[] = [];
  const waiting = [0, 1, 2].map(async (index) => {
    await locker.lock('a', options);
    order.push(index);
  });
  await memory.clock.settle();
  const before = commitsOf(memory);
  let reports = 0;
  const release = memory.store.delayWatches(({ key }) => key === writer?.value?.key && reports++ < 2);

  remove(memory, writer?.value?.key);
  await memory.clock.settle();
  expect(order).toEqual([0, 1, 2]);
  expect(commitsOf(memory) - before).toBe(0);
  release();
  await Promise.all(waiting);
});

describe('a semaphore', () => {
  test('subtracts the deletions of its queue, and holds below its number without a look', async () => {
    await using memory = await openFaultyMemory();
    const slots = { slots: 2 };
    const waiting = await enqueue(memory, slots, slots, slots, slots, slots);
    const keys = keysOf(memory);
    const before = commitsOf(memory);

    // The fifth needs three to go: one of them waits itself.
    remove(memory, keys[2]);
    await memory.clock.settle();
    const commits = commitsOf(memory);
    remove(memory, keys[0], keys[1]);
    await memory.clock.settle();

    expect(waiting.slice(3, 5).map((one) => one.value?.held)).toEqual([true, true]);
    expect(commits - before).toBeGreaterThanOrEqual(1);
    expect(looksOf(memory)).toBe(0);
  });

  test('does not admit a caller whose own entry is among the deletions that another caller of its locker reports', async () => {
    await using memory = await openFaultyMemory();
    const slots = { slots: 2 };
    await enqueue(memory, slots, slots);
    const locker = memory.createLocker();
    const waiting = [follow(locker.lock('a', slots)), follow(locker.lock('a', slots))];
    await memory.clock.settle();
    const [first, second, , last] = keysOf(memory);
    let reports = 0;
    const release = memory.store.delayWatches(({ rangeEnd }) => rangeEnd !== undefined && reports++ === 0);

    remove(memory, first, second, last);
    await memory.clock.settle();

    expect(memory.entries('a').map(({ key }) => key)).toContain(waiting[1]?.value?.key);
    expect(waiting.map(({ value }) => value?.held)).toEqual([true, true]);
    release();
  });

  test('serves the callers of one locker in their order, though a later one looks meanwhile', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, {});
    const locker = memory.createLocker();
    const served: number[] = [];
    const call = async (index: number): Promise<void> => {
      await locker.lock('a', { slots: 3 });
      served.push(index);
    };
    void call(0);
    await memory.clock.advance(2_000);
    void call(1);
    await memory.clock.settle();
    // The slow look of the first call is answered, and that of the second one is not.
    memory.store.next(calls.read, (send) => send());
    memory.store.next(calls.read, hangs);
    await memory.clock.advance(6_000);
    expect(looksOf(memory)).toBe(2);

    remove(memory, holder?.value?.key);
    await memory.clock.settle();

    expect(served).toEqual([0, 1]);
  });

  test('serves the readers of one locker in their order, though the watch of the last is confirmed before the look of the second ends', async () => {
    await using memory = await openFaultyMemory();
    const [holder] = await enqueue(memory, {});
    const own: string[] = [];
    const isOwnWatchOf =
      (index: number) =>
      ({ key, isBackground }: WatchRequest) => {
        if (isBackground === true && !own.includes(key)) own.push(key);
        return isBackground === true && own.indexOf(key) === index;
      };
    const reports = [1, 2].map((index) => memory.store.delayWatches(isOwnWatchOf(index)));
    const locker = memory.createLocker();
    const served: number[] = [];
    const call = async (index: number): Promise<void> => {
      await locker.lock('a', { mode: 'shared' });
      served.push(index);
    };
    for (const index of [0, 1, 2]) void call(index);
    await memory.clock.settle();
    memory.store.every(calls.read, respondsAfter(memory.clock, 500));
    remove(memory, holder?.value?.key);
    await memory.clock.settle();
    expect(served).toEqual([0]);

    reports[1]?.();
    await memory.clock.settle();
    await memory.clock.advance(500);

    expect(served).toEqual([0, 1, 2]);
    reports[0]?.();
  });

  test('looks when the last of two other kinds is deleted', async () => {
    await using memory = await openFaultyMemory();
    const [writer, reader, waiter] = await enqueue(memory, {}, shared, { slots: 2 });
    remove(memory, keysOf(memory)[1]);
    await memory.clock.settle();

    expect(waiter?.isSettled).toBe(false);
    expect(reader?.isSettled).toBe(false);
    await writer?.value?.release();
    await memory.clock.settle();
    expect(waiter?.value?.held).toBe(true);
  });
});

test('a deletion by a thief of the same client admits no waiter', async () => {
  await using memory = await openFaultyMemory();
  const [holder] = await enqueue(memory, {});
  const locker = memory.createLocker();
  const waiter = follow(locker.lock('a'));
  await memory.clock.settle();
  const internals = internalsOf(locker);
  if (internals === undefined) throw new Error('The locker has no internals');
  const [holderKey, key] = keysOf(memory);
  const reportHolder = memory.store.delayWatches((request) => request.key === holderKey);
  const reportOwn = memory.store.delayWatches((request) => request.key === key);
  memory.store.next(calls.read, respondsAfter(memory.clock, 50));

  const stolen = await internals.queues.steal('a', internals.resolve());
  reportHolder();
  await memory.clock.settle();
  expect(waiter.isSettled).toBe(false);
  reportOwn();
  await memory.clock.advance(100);

  expect(stolen.held).toBe(true);
  expect(waiter.isSettled).toBe(false);
  await stolen.release();
  await memory.clock.settle();
  expect(waiter.value?.fencingToken).toBeGreaterThan(stolen.fencingToken);
  expect(holder?.value?.key).toBeDefined();
});
