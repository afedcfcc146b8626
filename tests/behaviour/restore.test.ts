/** Tests of an etcd that is restored from a snapshot while lockers use it. */
import type { Locker } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  type Call,
  calls,
  type FaultyMemory,
  type Fault,
  lostRequest,
  openFaultyMemory,
  respondsAfter,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

/** Fails the test instead of an endless loop, which no timer of the test could interrupt. */
const atMost = (count: number): Fault => {
  let sent = 0;
  return (send) => (++sent > count ? new Promise(() => undefined) : send());
};

const bigints = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** Makes the gate of the locker's session move: a creation is lost, and its outcome has to be settled. */
async function moveGate(memory: FaultyMemory, work: () => Promise<unknown>): Promise<void> {
  const before = memory.store.count(calls.gateMove);
  memory.store.next(calls.creation, lostRequest);
  await work();
  expect(memory.store.count(calls.gateMove)).toBe(before + 1);
}

describe('an etcd that is restored from before the gate moved', () => {
  test.each([0n, 1_000_000n])('lock() gets a new lease after a few requests, with bumpRevision %s', async (bumpRevision) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    await first.release();
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('a', () => undefined));
    memory.etcd.restore(snapshot, { bumpRevision });
    memory.store.every(calls.creation, atMost(10));
    const requests = memory.store.calls.length;

    const second = follow(locker.lock('b'));
    await memory.clock.advance(500);

    expect(second.value?.held).toBe(true);
    expect(second.value?.leaseId).not.toBe(first.leaseId);
    expect(memory.store.calls.length - requests).toBeLessThan(8);
  });

  test('a holder loses its lock with the next renewal, and the error says why', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('b', () => undefined));
    memory.etcd.restore(snapshot);

    await memory.clock.advance(6_000);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired', cause: { message: expect.stringContaining('restored') as string } });
  });

  test('a waiter gets its lock in the end when its creation was under way', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.withLock('a', () => undefined);
    const snapshot = memory.etcd.snapshot();
    await moveGate(memory, () => locker.withLock('b', () => undefined));
    memory.store.next(calls.creation, (send, call) => {
      memory.etcd.restore(snapshot);
      return lostRequest(send, call);
    });
    memory.store.every(calls.gateMove, atMost(10));

    const lock = follow(locker.lock('c'));
    await memory.clock.advance(500);

    expect(lock.value?.held).toBe(true);
  });
});

test('a response that a move of the gate has overtaken ends no session', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const lock = await locker.lock('a');
  memory.store.next(calls.renew, respondsAfter(memory.clock, 1_000));
  while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

  await moveGate(memory, () => locker.withLock('b', () => undefined));
  await memory.clock.advance(2_000);

  expect(lock.held).toBe(true);
  expect(lock.remainingMs).toBeGreaterThan(10_000);
});

/** Takes and releases the locks, and restores etcd to the moment at which they were held. */
async function withStrays(memory: FaultyMemory, names: readonly string[], locker: Locker): Promise<void> {
  const locks = await Promise.all(names.map((name) => locker.lock(name)));
  const snapshot = memory.etcd.snapshot();
  await Promise.all(locks.map((lock) => lock.release()));
  memory.etcd.restore(snapshot);
}

const aBeat = 6_000;

describe('an entry that a restore has brought back', () => {
  test.each(['holds another lock', 'waits for another lock', 'has no lock at the beat'])('is deleted when its session %s', async (use) => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const kept = await (use.startsWith('waits') ? other : locker).lock('kept');
    if (use.startsWith('has')) await kept.release();
    const waiting = use.startsWith('waits') ? follow(locker.lock('kept')) : undefined;
    await memory.clock.settle();
    await withStrays(memory, ['a', 'b'], locker);
    expect([memory.entries('a').length, memory.entries('b').length]).toEqual([1, 1]);

    const next = follow(other.lock('a'));
    await memory.clock.advance(aBeat);

    expect(next.value?.held).toBe(true);
    expect(memory.entries('b')).toEqual([]);
    expect(memory.store.count(calls.revoke)).toBe(0);
    if (use.startsWith('holds')) expect(kept.held).toBe(true);
    await kept.release();
    await memory.clock.advance(1);
    if (waiting !== undefined) expect(waiting.value?.held).toBe(true);
  });

  test('is no key of another form that a user puts with the lease', async () => {
    await using memory = await openFaultyMemory();
    const { key, leaseId } = await memory.createLocker().lock('a');
    const keys = ['services/mine', 'locks/a/mine', `${key}/mine`, key.replace('/a/', '/a/b/')];
    for (const one of keys) memory.etcd.commit({ compare: [], then: [{ put: { key: one, value: '', leaseId } }], otherwise: [] });

    await memory.clock.advance(3 * aBeat);

    const all = memory.etcd.commit({ compare: [], then: [{ range: { key: ' ', rangeEnd: '~' } }], otherwise: [] }).ranges[0] ?? [];
    expect(all.map((kv) => kv.key)).toEqual(expect.arrayContaining(keys));
  });

  test('does not become the entry of the next lock() on its name', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const old = await locker.lock('a');
    const { fencingToken } = old;
    const snapshot = memory.etcd.snapshot();
    await old.release();
    memory.etcd.restore(snapshot);

    const lock = await locker.lock('a');
    expect(lock.fencingToken).toBeGreaterThan(fencingToken);
    await memory.clock.advance(4 * aBeat);

    expect(lock.held).toBe(true);
    expect(memory.entries('a').map(({ createRevision }) => createRevision)).toEqual([lock.fencingToken]);
  });

  test('is deleted before the hand-over to the next caller can mistake it for its own entry', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const second = follow(locker.lock('a'));
    await first.release();
    await memory.clock.settle();
    // The second entry exists, and its number is free again soon.
    const snapshot = memory.etcd.snapshot();
    const third = follow(locker.lock('a'));
    await second.value?.release();
    await memory.clock.settle();
    memory.etcd.restore(snapshot);

    await memory.clock.advance(3 * aBeat);
    const lock = third.value?.held === true ? third.value : await locker.lock('a');

    expect(lock.held).toBe(true);
    expect(memory.entries('a').map(({ createRevision }) => createRevision)).toEqual([lock.fencingToken]);
  });

  test('stays if it is the entry of a lock that is asked for while it is being read', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('kept');
    const first = await locker.lock('a');
    const stale = await memory.store.leaseKeys(first.leaseId);
    await first.release();
    const list = memory.store.every(calls.leaseKeys, () => Promise.resolve(stale));
    const isRead = (call: Call): boolean => calls.read(call) && JSON.stringify(call, bigints).includes(first.key);
    memory.store.next(isRead, after(memory.clock, 1_000));
    while (memory.store.count(isRead) === 0) await memory.clock.advance(10);

    const second = await locker.lock('a');
    expect(second.key).toBe(first.key);
    await memory.clock.advance(2_000);
    list();
    await memory.clock.advance(aBeat);

    expect(second.held).toBe(true);
  });

  test('an entry that comes and goes while the keys are listed costs no read', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.lock('kept');
    memory.store.next(calls.leaseKeys, after(memory.clock, 200, respondsAfter(memory.clock, 300)));
    while (memory.store.count(calls.leaseKeys) === 0) await memory.clock.advance(10);
    const lock = await locker.lock('a');
    await memory.clock.advance(250);
    await lock.release();
    const reads = memory.store.count(calls.read);

    await memory.clock.advance(1_000);

    expect(memory.store.count(calls.read)).toBe(reads);
  });
});

describe('locks that a restore has taken back', () => {
  test('are lost with the next beat, and waiters come back to the queue', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const busy = await locker.lock('busy');
    await other.lock('open');
    const snapshot = memory.etcd.snapshot();
    const lock = await locker.lock('a');
    const waiting = follow(other.lock('busy'));
    await memory.clock.settle();
    memory.etcd.restore(snapshot);

    await memory.clock.advance(aBeat);

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'deleted' });
    expect(busy.held).toBe(true);
    expect(memory.entries('busy')).toHaveLength(2);
    await busy.release();
    await memory.clock.advance(1);
    expect(waiting.value?.held).toBe(true);
  });
});

test('watch() shows no change from before a restore that came while it read the queue', async () => {
  await using memory = await openFaultyMemory();
  const [locker, watcher] = [memory.createLocker(), memory.createLocker()];
  await locker.withLock('a', () => undefined);
  const states: boolean[] = [];
  void (async () => {
    for await (const { held } of watcher.watch('a')) states.push(held);
  })().catch(() => undefined);
  await memory.clock.settle();
  const snapshot = memory.etcd.snapshot();
  memory.store.next(calls.read, after(memory.clock, 1_000));
  memory.etcd.restore(snapshot);
  await memory.clock.settle();

  // The watch reports these during the read, and the second restore takes them back.
  const lost = follow(locker.lock('a'));
  await memory.clock.settle();
  memory.etcd.restore(snapshot);
  await memory.clock.advance(30_000);
  await lost.value?.release();
  await memory.clock.advance(1_000);

  expect(states.at(-1)).toBe(false);
  const next = follow(locker.lock('a'));
  await memory.clock.settle();
  expect(next.value?.held).toBe(true);
  expect(states.at(-1)).toBe(true);
});

test('watch() reads the queue again after a restore, also if a response from before it comes later', async () => {
  await using memory = await openFaultyMemory();
  const snapshot = memory.etcd.snapshot();
  await memory.createLocker().lock('a', { value: 'undone' });
  memory.store.next(calls.read, respondsAfter(memory.clock, 500));
  const states = memory.createLocker().watch('a');
  const first = follow(states.next());
  await memory.clock.advance(100);
  memory.etcd.restore(snapshot);
  await memory.clock.advance(100);
  expect(first.isSettled).toBe(false);

  await memory.clock.advance(400);

  expect(first.value?.value).toMatchObject({ held: false });
  await states.return();
});

test('watch() reads the queue again if its watch was confirmed long after the read, at the same revision', async () => {
  await using memory = await openFaultyMemory();
  const snapshot = memory.etcd.snapshot();
  await memory.createLocker().lock('a', { value: 'undone' });
  memory.store.breakWatches();
  const states: boolean[] = [];
  void (async () => {
    for await (const { held } of memory.createLocker({ requestTimeoutMs: 1_000 }).watch('a')) states.push(held);
  })().catch(() => undefined);
  await memory.clock.advance(1_000);
  expect(states.at(-1)).toBe(true);
  const { revision } = memory.etcd;
  memory.etcd.restore(snapshot);
  const touch = { key: 'other', value: '', leaseId: '0' };
  while (memory.etcd.revision < revision - 1n) memory.etcd.commit({ compare: [], then: [{ put: touch }], otherwise: [] });
  memory.etcd.commit({ compare: [], then: [{ delete: { key: 'other' } }], otherwise: [] });
  expect(memory.etcd.revision).toBe(revision);

  memory.store.restoreWatches();
  await memory.clock.settle();

  expect(states.at(-1)).toBe(false);
});
