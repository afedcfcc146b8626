/** Stealing under faults: one holder, who was robbed is told once, who waited comes back behind the thief. */
import { type WebLockManager, webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { internalsOf } from '../../src/locker/internals.ts';
import {
  after,
  answeredAfter,
  away,
  type FaultyMemory,
  type Call,
  calls,
  type Fault,
  late,
  lostAnswer,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';
import { type Asked, ask } from '../support/fixtures/web-locks.ts';

const aborted = { name: 'AbortError', cause: { code: 'LOCK_LOST' } };

/** A holder, two who wait behind it, and a thief: each a client of its own. */
async function openScene(): Promise<
  AsyncDisposable & { memory: FaultyMemory; holder: Asked; waiters: readonly [Asked, Asked]; locks: WebLockManager }
> {
  const memory = await openFaultyMemory();
  const client = (): WebLockManager => webLocks(memory.createLocker({ ttlMs: 6_000 }));
  const [one, two, three, locks] = [client(), client(), client(), client()];
  // Its session stands, so that what fails is the theft and not what comes before.
  await locks.request('other', () => undefined);
  const holder = ask(one, 'a');
  await memory.clock.settle();
  const exclusive = ask(two, 'a');
  await memory.clock.settle();
  const shared = ask(three, 'a', { mode: 'shared' });
  await memory.clock.settle();
  expect(memory.entries('a')).toHaveLength(3);
  return { memory, holder, waiters: [exclusive, shared], locks, [Symbol.asyncDispose]: () => memory[Symbol.asyncDispose]() };
}

/** The token of the entry that holds, as etcd has it. */
const holds = (memory: FaultyMemory): bigint | undefined => memory.entries('a')[0]?.createRevision;

function revokeLeaseOf({ etcd }: FaultyMemory, call: Call): void {
  if (call.method !== 'commit') return;
  for (const one of call.transaction.then) if ('put' in one) etcd.revoke(one.put.leaseId);
}

describe('a theft whose outcome is unknown', () => {
  test.each<[string, Fault[]]>([
    ['the answer was lost', [lostAnswer]],
    ['the request was lost', [lostRequest]],
    ['both were, one after the other', [lostRequest, lostAnswer]],
    ['answer after answer was lost', [lostAnswer, lostAnswer, lostAnswer]],
  ])('has one holder, the thief, and those who waited behind it: %s', async (_, faults) => {
    await using scene = await openScene();
    const { memory, holder, waiters, locks } = scene;
    memory.store.next(calls.creation, ...faults);

    const thief = ask(locks, 'a', { steal: true });
    await memory.clock.advance(100);

    expect(thief.lock?.fencingToken).toBe(holds(memory));
    expect(holder).toMatchObject({ granted: 1, aborts: 1, fate: { isSettled: true, error: aborted } });
    expect(holder.lock?.signal.reason).toBe(holder.fate.error);
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    expect(memory.entries('a')).toHaveLength(3);
    expect((await locks.query()).pending).toHaveLength(2);

    thief.end('stolen');
    await memory.clock.advance(100);
    for (const waiter of waiters) {
      waiter.end('served');
      await memory.clock.advance(100);
    }
    holder.end('late');

    expect(thief).toMatchObject({ granted: 1, aborts: 0, fate: { value: 'stolen' } });
    expect(waiters).toMatchObject([
      { granted: 1, aborts: 0, fate: { value: 'served' } },
      { granted: 1, aborts: 0, fate: { value: 'served' } },
    ]);
    expect(holder).toMatchObject({ granted: 1, aborts: 1, fate: { error: aborted } });
  });

  test('is never applied later: what was given up robs nobody who holds by then', async () => {
    await using scene = await openScene();
    const { memory, waiters, locks } = scene;
    const frozen = late();
    memory.store.next(calls.creation, frozen.fault);
    const thief = ask(locks, 'a', { steal: true });
    await memory.clock.advance(100);
    thief.end('stolen');
    await memory.clock.advance(100);
    const [next] = waiters;
    expect(next).toMatchObject({ granted: 1, aborts: 0 });
    const before = memory.entries('a');

    await frozen.apply();
    await memory.clock.advance(10_000);

    expect(memory.entries('a')).toEqual(before);
    expect(next).toMatchObject({ aborts: 0, fate: { isSettled: false } });
  });

  test('rejects once etcd was silent for requestTimeoutMs; whoever it has robbed by then is robbed, and nothing stays', async () => {
    await using scene = await openScene();
    const { memory, holder, waiters, locks } = scene;
    memory.store.next(calls.creation, lostAnswer);
    const answer = memory.store.every(calls.gateMove, away(memory.clock));

    const thief = ask(locks, 'a', { steal: true });
    await memory.clock.advance(5_100);
    expect(thief).toMatchObject({ granted: 0, fate: { error: { code: 'ETCD_UNAVAILABLE' } } });
    expect(holder).toMatchObject({ aborts: 1, fate: { error: aborted } });
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    answer();
    await memory.clock.advance(10_000);

    expect(memory.entries('a')).toHaveLength(2);
    expect(waiters.map(({ granted }) => granted).sort()).toEqual([0, 1]);
  });
});

describe('two thieves at once', () => {
  test('the later one in etcd keeps it, though the other is told of its own success last; each was granted, one is robbed', async () => {
    await using scene = await openScene();
    const { memory, holder, waiters, locks } = scene;
    const other = webLocks(memory.createLocker());
    await other.request('other', () => undefined);
    memory.store.next(calls.creation, answeredAfter(memory.clock, 500));

    const first = ask(locks, 'a', { steal: true });
    await memory.clock.settle();
    const second = ask(other, 'a', { steal: true });
    await memory.clock.advance(100);
    expect([first.granted, second.granted]).toEqual([0, 1]);
    // Long before the next heartbeat.
    await memory.clock.advance(500);

    expect(second.lock?.fencingToken).toBe(holds(memory));
    expect(second).toMatchObject({ granted: 1, aborts: 0, fate: { isSettled: false } });
    expect(first).toMatchObject({ granted: 1, aborts: 1, fate: { error: aborted } });
    expect(holder).toMatchObject({ granted: 1, aborts: 1, fate: { error: aborted } });
    expect(waiters.map(({ granted }) => granted)).toEqual([0, 0]);
    expect(memory.entries('a')).toHaveLength(3);
  });

  test('both answers lost: one keeps it', async () => {
    await using scene = await openScene();
    const { memory, holder, locks } = scene;
    const other = webLocks(memory.createLocker());
    await other.request('other', () => undefined);
    memory.store.next(calls.creation, lostAnswer, lostAnswer);

    const thieves = [ask(locks, 'a', { steal: true }), ask(other, 'a', { steal: true })];
    await memory.clock.advance(1_000);

    const keeping = thieves.filter(({ aborts }) => aborts === 0);
    expect(keeping.map(({ lock }) => lock?.fencingToken)).toEqual([holds(memory)]);
    for (const { aborts, fate } of thieves) expect(fate.isSettled).toBe(aborts === 1);
    expect(holder).toMatchObject({ granted: 1, aborts: 1 });
    expect(memory.entries('a')).toHaveLength(3);
  });
});

describe('a thief that comes to grief on the way', () => {
  test('whose lease is gone deletes nothing, and comes again with another', async () => {
    await using scene = await openScene();
    const { memory, holder, locks } = scene;
    const before = memory.entries('a');
    const seen: unknown[] = [];
    memory.store.next(calls.creation, async (send, call) => {
      revokeLeaseOf(memory, call);
      const answer = await send();
      seen.push(...memory.entries('a'));
      return answer;
    });

    const thief = ask(locks, 'a', { steal: true });
    await memory.clock.advance(100);

    expect(seen).toEqual(before);
    expect(thief).toMatchObject({ granted: 1, aborts: 0 });
    expect(thief.lock?.fencingToken).toBe(holds(memory));
    expect(holder).toMatchObject({ granted: 1, aborts: 1, fate: { error: aborted } });
  });

  test('whose lease ends after the theft but before the answer never holds by it: it steals anew, or the next one holds', async () => {
    await using scene = await openScene();
    const { memory, holder, locks } = scene;
    memory.store.next(calls.creation, async (send, call) => {
      const answer = await send();
      revokeLeaseOf(memory, call);
      await new Promise<void>((resolve) => memory.clock.setTimer(4_000, resolve));
      return answer;
    });

    const thief = ask(locks, 'a', { steal: true });
    await memory.clock.advance(8_000);

    expect(holder).toMatchObject({ granted: 1, aborts: 1, fate: { error: aborted } });
    expect(thief).toMatchObject({ granted: 1, aborts: 0 });
    expect(thief.lock?.fencingToken).toBe(holds(memory));
  });

  test.each<[string, boolean, (memory: FaultyMemory) => Fault]>([
    ['before etcd has heard of it', false, ({ clock }) => after(clock, 500, lostRequest)],
    ['before it reaches etcd, late', false, ({ clock }) => after(clock, 500)],
    ['after etcd has done it', true, ({ clock }) => answeredAfter(clock, 500)],
    ['after etcd has done it, unheard', true, ({ clock }) => answeredAfter(clock, 500, false)],
  ])('whose locker is closed is rejected with AbortError, and leaves no entry: %s', async (_, isRobbery, faultOn) => {
    await using scene = await openScene();
    const { memory, holder, waiters } = scene;
    const locker = memory.createLocker();
    await webLocks(locker).request('other', () => undefined);
    memory.store.next(calls.creation, faultOn(memory));

    const thief = ask(webLocks(locker), 'a', { steal: true });
    await memory.clock.advance(100);
    const closed = follow(locker.close());
    await memory.clock.advance(10_000);

    expect(closed.isSettled).toBe(true);
    expect(thief).toMatchObject({ granted: 0, fate: { error: { name: 'AbortError', cause: { code: 'LOCKER_CLOSED' } } } });
    expect(holder).toMatchObject({ granted: 1, aborts: isRobbery ? 1 : 0, fate: { isSettled: isRobbery } });
    expect(memory.entries('a')).toHaveLength(isRobbery ? 2 : 3);
    expect(waiters.map(({ granted }) => granted).sort()).toEqual(isRobbery ? [0, 1] : [0, 0]);
  });

  test('whose own entry was deleted before its answer came takes nothing from who came after it', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('It is no locker of this package');
    const before = await locker.lock('a');
    memory.store.next(calls.creation, answeredAfter(memory.clock, 500));
    const theft = follow(internals.queues.steal('a', internals.resolve()));
    await memory.clock.advance(100);
    const key = memory.entries('a')[0]?.key ?? '';
    memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    // Of another kind, which does not line up behind a holder of its process.
    const later = await locker.lock('a', { mode: 'shared' });
    expect(theft.isSettled).toBe(false);

    await memory.clock.advance(500);

    expect(theft.value?.fencingToken).toBeLessThan(later.fencingToken);
    expect(before.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    expect(later.held).toBe(true);
  });
});

describe('who is robbed by its own client', () => {
  test('a waiter whose turn is told late does not hold beside the thief', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('It is no locker of this package');
    const held = await other.lock('a');
    const waiter = follow(locker.lock('a'));
    await memory.clock.settle();
    // It is read that nobody is before the waiter, and then the waiter's entry is stolen.
    memory.store.next(calls.read, answeredAfter(memory.clock, 500));
    await held.release();
    await memory.clock.settle();
    const theft = await internals.queues.steal('a', internals.resolve());

    await memory.clock.advance(600);

    expect(theft.held).toBe(true);
    expect(waiter.isSettled).toBe(false);
    await theft.release();
    await memory.clock.settle();
    expect(waiter.value?.fencingToken).toBeGreaterThan(theft.fencingToken);
    expect(waiter.value?.fencingToken).toBe(holds(memory));
  });

  test('a creation that is answered late does not hold beside the thief', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('It is no locker of this package');
    await (await locker.lock('other')).release();
    memory.store.next(calls.creation, answeredAfter(memory.clock, 500));
    const first = follow(locker.lock('a'));
    await memory.clock.settle();
    const theft = await internals.queues.steal('a', internals.resolve());

    await memory.clock.advance(600);

    expect(first.isSettled).toBe(false);
    expect(theft.held).toBe(true);
    await theft.release();
    await memory.clock.settle();
    expect(first.value?.fencingToken).toBe(holds(memory));
  });
});
