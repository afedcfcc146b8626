/** Tests of events in one tick: calls in the listener of a loss, and clocks that jump between two reads. */
import type { Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { EtcdAuthError } from '../../src/errors.ts';
import { internalsOf } from '../../src/locker/internals.ts';
import {
  after,
  type FaultyMemory,
  calls,
  type Fault,
  hangs,
  lostResponse,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorIn, errorOf, follow } from '../support/fixtures/holding.ts';

/** Freezes the process for `ms` at the given read of the clocks, counted from now. Returns a function that cancels it. */
function freezeAt({ clock }: FaultyMemory, readings: number, ms: number): () => void {
  const now = clock.now.bind(clock);
  let left = readings;
  clock.now = () => {
    left -= 1;
    if (left === 0) clock.freeze(ms);
    return now();
  };
  return () => {
    clock.now = now;
  };
}

describe('in the listener of a loss', () => {
  test('the other locks of the session are already lost, and their signals abort once', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [a, b] = await Promise.all([locker.lock('a'), locker.lock('b')]);
    const reasons: unknown[] = [];
    b.signal.addEventListener('abort', () => reasons.push(b.signal.reason));
    let seen: { readonly held: boolean; readonly remainingMs: number; readonly error: unknown } | undefined;
    a.signal.addEventListener('abort', () => {
      seen = {
        held: b.held,
        remainingMs: b.remainingMs,
        error: errorIn(() => {
          b.throwIfLost();
        }),
      };
    });

    memory.clock.freeze(60_000);
    expect(a.held).toBe(false);

    expect(seen).toMatchObject({ held: false, remainingMs: 0, error: { code: 'LOCK_LOST', lockName: 'b', reason: 'expired' } });
    expect(reasons).toHaveLength(1);
  });

  test('tryLock() of the lost name sends its request', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const a = await locker.lock('a');
    const tries: Promise<Lock | null>[] = [];
    a.signal.addEventListener('abort', () => tries.push(locker.tryLock('a')));
    memory.etcd.commit({ compare: [], then: [{ delete: { key: a.key } }], otherwise: [] });

    await memory.clock.advance(6_000);

    expect((await Promise.all(tries)).map((lock) => lock?.held)).toEqual([true]);
  });

  test('close() leaves no session when tryLock() detected the loss', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    const closings: Promise<void>[] = [];
    lock.signal.addEventListener('abort', () => closings.push(locker.close()));
    memory.clock.freeze(14_000);

    const error = await errorOf(locker.tryLock('b'));
    await Promise.all(closings);

    expect(error).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(closings).toHaveLength(1);
    expect(memory.etcd.leaseIds).toEqual([]);
    expect(memory.clock.timerCount).toBe(0);
  });

  test('new calls reject with LockerClosedError when close() caused the loss', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [a, b] = [await locker.lock('a'), await locker.lock('b', { ttlMs: 30_000 })];
    const attempts: Promise<unknown>[] = [];
    a.signal.addEventListener('abort', () => {
      attempts.push(
        errorOf(locker.lock('b', { ttlMs: 30_000 })),
        errorOf(locker.tryLock('c')),
        Promise.resolve(errorIn(() => locker.watch('a'))),
        errorOf(locker.close()),
      );
    });

    await locker.close();

    const closed = { code: 'LOCKER_CLOSED' };
    expect(await Promise.all(attempts)).toMatchObject([closed, closed, closed, undefined]);
    expect(b.held).toBe(false);
  });
});

describe('a lock that a steal acquired', () => {
  test('is lost if its own lease ended in the listener of its victim', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [other, victim] = [await locker.lock('other'), await locker.lock('a')];
    victim.signal.addEventListener('abort', () => {
      memory.clock.freeze(20_000);
      expect(other.held).toBe(false);
    });
    const internals = internalsOf(locker);
    if (internals === undefined) throw new Error('The locker has no internals');

    const stolen = await internals.queues.steal('a', internals.resolve());

    expect(stolen.held).toBe(false);
    expect(stolen.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
  });
});

describe('a process frozen between two reads of the clocks', () => {
  test('tryLock() uses a new session if the old one ended in the tick of the call', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 2_000 });
    const other = await locker.lock('other');
    let creations = 0;
    memory.store.every(calls.creation, (send, call) => ((creations += 1) > 3 ? hangs(send, call) : send()));

    const trying = follow(locker.tryLock('a'));
    memory.clock.freeze(2_000);
    expect(other.held).toBe(false);
    await memory.clock.settle();

    expect(trying.value?.held).toBe(true);
    expect(creations).toBe(1);
  });

  test('tryLockAll() causes no unhandled rejection if its time is up while it settles an unknown outcome', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): number => unhandled.push(error);
    process.on('unhandledRejection', note);
    try {
      for (let readings = 1; readings <= 8; readings += 1) {
        await using memory = await openFaultyMemory();
        const locker = memory.createLocker();
        await locker.lock('open');
        const lostLate: Fault = (send, call) => {
          const stop = freezeAt(memory, readings, 20);
          return lostResponse(send, call).finally(() => setImmediate(stop));
        };
        memory.store.next(calls.creation, after(memory.clock, 4_990, lostLate));
        memory.store.next(calls.gateMove, lostRequest, lostRequest);

        const trying = follow(locker.tryLockAll(['a', 'b']));
        await memory.clock.advance(6_000);

        expect(trying.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
      }
    } finally {
      process.off('unhandledRejection', note);
    }
    expect(unhandled).toEqual([]);
  });

  test.each([1, 2, 3, 4, 5])('release() serves all waiters if a session ends during it (read %i)', async (readings) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [a, refusedLock] = await Promise.all([locker.lock('a'), locker.lock('b')]);
    // This seals the session of both locks.
    memory.store.next(calls.deletion, refused(new EtcdAuthError('locks/', 'denied')));
    await errorOf(refusedLock.release());
    memory.store.every(
      (call) => call.method === 'renew' && call.leaseId === a.leaseId,
      () => Promise.reject(new Error('lost')),
    );
    await memory.clock.advance(10_000);
    await locker.lock('c');
    const waiting = [follow(locker.lock('a')), follow(locker.lock('a'))];
    await memory.clock.advance(a.remainingMs - 50);
    expect(a.held).toBe(true);
    const { signal } = a;

    const stop = freezeAt(memory, readings, 100);
    void a.release();
    await memory.clock.advance(1_000);
    stop();
    void waiting[0]?.value?.release();
    await memory.clock.advance(1_000);

    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([true, true]);
    expect(waiting[1]?.value?.held).toBe(true);
    // Only the first read is before the release. A released lock cannot be lost.
    expect(signal.aborted).toBe(readings === 1);
  });
});
