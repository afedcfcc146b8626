/** Tests of `steal` under faults: there is one holder, each victim is notified once, and waiters wait behind the thief. */
import { type WebLockManager, webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { internalsOf } from '../../src/locker/internals.ts';
import {
  after,
  respondsAfter,
  unreachable,
  type FaultyMemory,
  type Call,
  calls,
  type Fault,
  appliedLater,
  lostResponse,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';
import { type TrackedRequest, trackRequest } from '../support/fixtures/web-locks.ts';

const aborted = { name: 'AbortError', cause: { code: 'LOCK_LOST' } };

/** Opens a queue with a holder and two waiters. They, and the client that steals, are clients of their own. */
async function openQueue(): Promise<
  AsyncDisposable & {
    memory: FaultyMemory;
    holder: TrackedRequest;
    waiters: readonly [TrackedRequest, TrackedRequest];
    locks: WebLockManager;
  }
> {
  const memory = await openFaultyMemory();
  const client = (): WebLockManager => webLocks(memory.createLocker({ ttlMs: 6_000 }));
  const [one, two, three, locks] = [client(), client(), client(), client()];
  // This opens its session, so that the faults apply to the steal.
  await locks.request('other', () => undefined);
  const holder = trackRequest(one, 'a');
  await memory.clock.settle();
  const exclusive = trackRequest(two, 'a');
  await memory.clock.settle();
  const shared = trackRequest(three, 'a', { mode: 'shared' });
  await memory.clock.settle();
  expect(memory.entries('a')).toHaveLength(3);
  return { memory, holder, waiters: [exclusive, shared], locks, [Symbol.asyncDispose]: () => memory[Symbol.asyncDispose]() };
}

/** The token of the first entry in etcd. */
const holderToken = (memory: FaultyMemory): bigint | undefined => memory.entries('a')[0]?.createRevision;

function revokeLeaseOf({ etcd }: FaultyMemory, call: Call): void {
  if (call.method !== 'commit') return;
  for (const one of call.transaction.then) if ('put' in one) etcd.revoke(one.put.leaseId);
}

describe('a steal whose outcome is unknown', () => {
  test.each<[string, Fault[]]>([
    ['the response was lost', [lostResponse]],
    ['the request was lost', [lostRequest]],
    ['both were lost, one after the other', [lostRequest, lostResponse]],
    ['three responses were lost', [lostResponse, lostResponse, lostResponse]],
  ])('makes the thief the only holder, and keeps the waiters behind it: %s', async (_, faults) => {
    await using queue = await openQueue();
    const { memory, holder, waiters, locks } = queue;
    memory.store.next(calls.creation, ...faults);

    const thief = trackRequest(locks, 'a', { steal: true });
    await memory.clock.advance(100);

    expect(thief.lock?.fencingToken).toBe(holderToken(memory));
    expect(holder).toMatchObject({ granted: 1, aborts: 1, outcome: { isSettled: true, error: aborted } });
    expect(holder.lock?.signal.reason).toBe(holder.outcome.error);
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    expect(memory.entries('a')).toHaveLength(3);
    expect((await locks.query()).pending).toHaveLength(2);

    thief.finish('stolen');
    await memory.clock.advance(100);
    for (const waiter of waiters) {
      waiter.finish('served');
      await memory.clock.advance(100);
    }
    holder.finish('late');

    expect(thief).toMatchObject({ granted: 1, aborts: 0, outcome: { value: 'stolen' } });
    expect(waiters).toMatchObject([
      { granted: 1, aborts: 0, outcome: { value: 'served' } },
      { granted: 1, aborts: 0, outcome: { value: 'served' } },
    ]);
    expect(holder).toMatchObject({ granted: 1, aborts: 1, outcome: { error: aborted } });
  });

  test('is not applied later, when another request holds the lock', async () => {
    await using queue = await openQueue();
    const { memory, waiters, locks } = queue;
    const frozen = appliedLater();
    memory.store.next(calls.creation, frozen.fault);
    const thief = trackRequest(locks, 'a', { steal: true });
    await memory.clock.advance(100);
    thief.finish('stolen');
    await memory.clock.advance(100);
    const [next] = waiters;
    expect(next).toMatchObject({ granted: 1, aborts: 0 });
    const before = memory.entries('a');

    await frozen.apply();
    await memory.clock.advance(10_000);

    expect(memory.entries('a')).toEqual(before);
    expect(next).toMatchObject({ aborts: 0, outcome: { isSettled: false } });
  });

  test('rejects after requestTimeoutMs without a response, and leaves no entry, but its victims stay lost', async () => {
    await using queue = await openQueue();
    const { memory, holder, waiters, locks } = queue;
    memory.store.next(calls.creation, lostResponse);
    const stopFault = memory.store.every(calls.gateMove, unreachable(memory.clock));

    const thief = trackRequest(locks, 'a', { steal: true });
    await memory.clock.advance(5_100);
    expect(thief).toMatchObject({ granted: 0, outcome: { error: { code: 'ETCD_UNAVAILABLE' } } });
    expect(holder).toMatchObject({ aborts: 1, outcome: { error: aborted } });
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    stopFault();
    await memory.clock.advance(10_000);

    expect(memory.entries('a')).toHaveLength(2);
    expect(waiters.map(({ granted }) => granted).sort()).toEqual([0, 1]);
  });
});

describe('two thieves at once', () => {
  test('the later one in etcd keeps the lock, even if the response of the earlier one arrives last', async () => {
    await using queue = await openQueue();
    const { memory, holder, waiters, locks } = queue;
    const other = webLocks(memory.createLocker());
    await other.request('other', () => undefined);
    memory.store.next(calls.creation, respondsAfter(memory.clock, 500));

    const first = trackRequest(locks, 'a', { steal: true });
    await memory.clock.settle();
    const second = trackRequest(other, 'a', { steal: true });
    await memory.clock.advance(100);
    expect([first.granted, second.granted]).toEqual([0, 1]);
    // This is long before the next heartbeat.
    await memory.clock.advance(500);

    expect(second.lock?.fencingToken).toBe(holderToken(memory));
    expect(second).toMatchObject({ granted: 1, aborts: 0, outcome: { isSettled: false } });
    expect(first).toMatchObject({ granted: 1, aborts: 1, outcome: { error: aborted } });
    expect(holder).toMatchObject({ granted: 1, aborts: 1, outcome: { error: aborted } });
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    expect(memory.entries('a')).toHaveLength(3);
  });

  test('one keeps the lock if both responses are lost', async () => {
    await using queue = await openQueue();
    const { memory, holder, locks } = queue;
    const other = webLocks(memory.createLocker());
    await other.request('other', () => undefined);
    memory.store.next(calls.creation, lostResponse, lostResponse);

    const thieves = [trackRequest(locks, 'a', { steal: true }), trackRequest(other, 'a', { steal: true })];
    await memory.clock.advance(1_000);

    const remaining = thieves.filter(({ aborts }) => aborts === 0);
    expect(remaining.map(({ lock }) => lock?.fencingToken)).toEqual([holderToken(memory)]);
    for (const { aborts, outcome } of thieves) expect(outcome.isSettled).toBe(aborts === 1);
    expect(holder).toMatchObject({ granted: 1, aborts: 1 });
    expect(memory.entries('a')).toHaveLength(3);
  });
});

describe('a steal that fails', () => {
  test('deletes nothing if its lease is gone, and retries with another lease', async () => {
    await using queue = await openQueue();
    const { memory, holder, locks } = queue;
    const before = memory.entries('a');
    const seen: unknown[] = [];
    memory.store.next(calls.creation, async (send, call) => {
      revokeLeaseOf(memory, call);
      const response = await send();
      seen.push(...memory.entries('a'));
      return response;
    });

    const thief = trackRequest(locks, 'a', { steal: true });
    await memory.clock.advance(100);

    expect(seen).toEqual(before);
    expect(thief).toMatchObject({ granted: 1, aborts: 0 });
    expect(thief.lock?.fencingToken).toBe(holderToken(memory));
    expect(holder).toMatchObject({ granted: 1, aborts: 1, outcome: { error: aborted } });
  });

  test('steals again if its lease ends before its response', async () => {
    await using queue = await openQueue();
    const { memory, holder, locks } = queue;
    memory.store.next(calls.creation, async (send, call) => {
      const response = await send();
      revokeLeaseOf(memory, call);
      await new Promise<void>((resolve) => memory.clock.setTimer(4_000, resolve));
      return response;
    });

    const thief = trackRequest(locks, 'a', { steal: true });
    await memory.clock.advance(8_000);

    expect(holder).toMatchObject({ granted: 1, aborts: 1, outcome: { error: aborted } });
    expect(thief).toMatchObject({ granted: 1, aborts: 0 });
    expect(thief.lock?.fencingToken).toBe(holderToken(memory));
  });

  test.each<[string, boolean, (memory: FaultyMemory) => Fault]>([
    ['the request is lost', false, ({ clock }) => after(clock, 500, lostRequest)],
    ['the request is late', false, ({ clock }) => after(clock, 500)],
    ['the response is late', true, ({ clock }) => respondsAfter(clock, 500)],
    ['the response is lost', true, ({ clock }) => respondsAfter(clock, 500, false)],
  ])('rejects with AbortError, and leaves no entry, if its locker is closed while %s', async (_, isStolen, faultOn) => {
    await using queue = await openQueue();
    const { memory, holder, waiters } = queue;
    const locker = memory.createLocker();
    await webLocks(locker).request('other', () => undefined);
    memory.store.next(calls.creation, faultOn(memory));

    const thief = trackRequest(webLocks(locker), 'a', { steal: true });
    await memory.clock.advance(100);
    const closed = follow(locker.close());
    await memory.clock.advance(10_000);

    expect(closed.isSettled).toBe(true);
    expect(thief).toMatchObject({ granted: 0, outcome: { error: { name: 'AbortError', cause: { code: 'LOCKER_CLOSED' } } } });
    expect(holder).toMatchObject({ granted: 1, aborts: isStolen ? 1 : 0, outcome: { isSettled: isStolen } });
    expect(memory.entries('a')).toHaveLength(isStolen ? 2 : 3);
    expect(waiters.map(({ granted }) => granted).sort()).toEqual(isStolen ? [0, 1] : [0, 0]);
  });

  test('does not end later holders if its own entry was deleted before its response', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('The locker has no internals');
    const before = await locker.lock('a');
    memory.store.next(calls.creation, respondsAfter(memory.clock, 500));
    const stolen = follow(internals.queues.steal('a', internals.resolve()));
    await memory.clock.advance(100);
    const key = memory.entries('a')[0]?.key ?? '';
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    // A caller of another kind does not wait in the local queue behind a holder.
    const later = await locker.lock('a', { mode: 'shared' });
    expect(stolen.isSettled).toBe(false);

    await memory.clock.advance(500);

    expect(stolen.value?.fencingToken).toBeLessThan(later.fencingToken);
    expect(before.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    expect(later.held).toBe(true);
  });
});

describe('a steal by the same client', () => {
  test('a waiter whose look is slow does not hold beside the thief', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('The locker has no internals');
    const held = await other.lock('a');
    const waiter = follow(locker.lock('a'));
    await memory.clock.settle();
    // The slow look finds the waiter first in the queue. Then the steal deletes the entry of the waiter.
    memory.store.breakWatches();
    memory.store.next(calls.read, respondsAfter(memory.clock, 3_000));
    await held.release();
    await memory.clock.advance(6_000);
    const stolen = await internals.queues.steal('a', internals.resolve());

    await memory.clock.advance(3_100);
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(stolen.held).toBe(true);
    expect(waiter.isSettled).toBe(false);
    await stolen.release();
    await memory.clock.settle();
    expect(waiter.value?.fencingToken).toBeGreaterThan(stolen.fencingToken);
    expect(waiter.value?.fencingToken).toBe(holderToken(memory));
  });

  test('a caller whose creation has a late response does not hold beside the thief', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('The locker has no internals');
    await (await locker.lock('other')).release();
    memory.store.next(calls.creation, respondsAfter(memory.clock, 500));
    const first = follow(locker.lock('a'));
    await memory.clock.settle();
    const stolen = await internals.queues.steal('a', internals.resolve());

    await memory.clock.advance(600);

    expect(first.isSettled).toBe(false);
    expect(stolen.held).toBe(true);
    await stolen.release();
    await memory.clock.settle();
    expect(first.value?.fencingToken).toBe(holderToken(memory));
  });
});
