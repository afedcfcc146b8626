/** Tests of the deadline: a session counts as over before etcd can end its lease. */
import { LockLostError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { respondsAfter, after, calls, hangs, lostRequest, openFaultyMemory, refused } from '../support/fixtures/faults.ts';

// With the default TTL of 15 s the margin is 1.5 s.
const fullMs = 13_500;

describe('the deadline', () => {
  test('remainingMs counts from the sending of the grant when its response takes three seconds', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 3_000));
    const pending = memory.createLocker().lock('a');

    await memory.clock.advance(3_000);

    expect((await pending).remainingMs).toBe(fullMs - 3_000);
  });

  test('remainingMs counts from the sending of a renewal when its response takes a second', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(calls.renew, respondsAfter(memory.clock, 1_000));
    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    await memory.clock.advance(1_000);

    expect(lock.remainingMs).toBeGreaterThan(fullMs - 1_020);
    expect(lock.remainingMs).toBeLessThanOrEqual(fullMs - 1_000);
  });

  test.each([
    { ttlMs: 2_000, deadlineMs: 1_500 },
    { ttlMs: 3_001, deadlineMs: 3_500 },
    { ttlMs: 5_000, deadlineMs: 4_500 },
    { ttlMs: 60_000, deadlineMs: 54_000 },
  ])('the margin is the larger of 500 ms and TTL/10: a TTL of $ttlMs ms gives $deadlineMs ms', async ({ ttlMs, deadlineMs }) => {
    await using memory = await openFaultyMemory();

    const lock = await memory.createLocker({ ttlMs }).lock('a');

    expect(lock.remainingMs).toBe(deadlineMs);
  });

  test('Lock is lost exactly at the deadline when every renewal hangs', async () => {
    await using memory = await openFaultyMemory();
    memory.store.every(calls.renew, hangs);
    const lock = await memory.createLocker().lock('a');
    let aborts = 0;
    lock.signal.addEventListener('abort', () => (aborts += 1));

    await memory.clock.advance(fullMs - 1);
    expect(lock).toMatchObject({ held: true, remainingMs: 1 });
    expect(aborts).toBe(0);
    await memory.clock.advance(1);

    expect(lock.held).toBe(false);
    expect(lock.remainingMs).toBe(0);
    expect(aborts).toBe(1);
    expect(() => {
      lock.throwIfLost();
    }).toThrow(LockLostError);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired', lockName: 'a', fencingToken: lock.fencingToken });
    await memory.clock.advance(60_000);
    expect(aborts).toBe(1);
  });

  test('signal aborts within half a margin after the deadline, and before etcd ends the lease, when the user reads nothing', async () => {
    await using memory = await openFaultyMemory();
    memory.store.every(calls.renew, hangs);
    const { signal } = await memory.createLocker().lock('a');
    let abortedAtMs = 0;
    const startedAtMs = memory.clock.now().monotonicMs;
    signal.addEventListener('abort', () => (abortedAtMs = memory.clock.now().monotonicMs - startedAtMs));

    await memory.clock.advance(14_999);

    expect(abortedAtMs).toBeGreaterThanOrEqual(fullMs);
    expect(abortedAtMs).toBeLessThanOrEqual(fullMs + 750);
  });

  test.each(['held', 'remainingMs', 'throwIfLost()', 'signal'])(
    '%s reports the loss at its first read after a freeze past the deadline',
    async (first) => {
      await using memory = await openFaultyMemory();
      const lock = await memory.createLocker().lock('a');
      const reads = {
        held: () => lock.held,
        remainingMs: () => lock.remainingMs > 0,
        'throwIfLost()': () => {
          try {
            lock.throwIfLost();
            return true;
          } catch {
            return false;
          }
        },
        signal: () => !lock.signal.aborted,
      };

      memory.clock.freeze(fullMs);
      const isHeld = reads[first as keyof typeof reads]();

      expect(isHeld).toBe(false);
      expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
    },
  );

  test('a read of held aborts the signal that the user got earlier when the process was frozen past the deadline', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const { signal } = lock;

    memory.clock.freeze(fullMs);

    expect(lock.held).toBe(false);
    expect(signal.aborted).toBe(true);
  });

  test('Lock is lost when the wall clock jumps past the deadline', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');

    memory.clock.jumpWall(fullMs - 1);
    expect(lock.held).toBe(true);
    memory.clock.jumpWall(1);

    expect(lock.held).toBe(false);
  });

  test('Lock is not prolonged when the wall clock is set back', async () => {
    await using memory = await openFaultyMemory();
    memory.store.every(calls.renew, hangs);
    const lock = await memory.createLocker().lock('a');

    memory.clock.jumpWall(-3_600_000);
    await memory.clock.advance(fullMs - 1);
    expect(lock.held).toBe(true);
    await memory.clock.advance(1);

    expect(lock.held).toBe(false);
  });

  test('Lock stays held for an hour when the wall clock was set back and renewals succeed', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');

    memory.clock.jumpWall(-3_600_000);
    await memory.clock.advance(3_600_000);

    expect(lock.held).toBe(true);
  });

  test('Lock stays lost, and its session stays over, when the response of a renewal arrives after the deadline', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    memory.store.every(calls.renew, respondsAfter(memory.clock, 12_000));
    const lock = await locker.lock('a');
    const { signal } = lock;

    await memory.clock.advance(30_000);

    expect(lock.held).toBe(false);
    expect(signal.reason).toMatchObject({ reason: 'expired' });
    expect(memory.etcd.leaseIds).not.toContain(lock.leaseId);
    memory.store.clearFaults();
    const next = await locker.lock('a');
    expect(next.leaseId).not.toBe(lock.leaseId);
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(lock.held).toBe(false);
  });

  test('Lock stays lost when the first event after a freeze past the deadline is a renewal', async () => {
    await using memory = await openFaultyMemory();
    let respond: () => void = () => undefined;
    const lock = await memory.createLocker().lock('a');
    memory.store.next(calls.renew, async (send) => {
      await new Promise<void>((resolve) => (respond = resolve));
      return send();
    });
    while (memory.store.count(calls.renew) === 0) await memory.clock.advance(10);

    // The deadline of this renewal would be in the future, because it was sent before the freeze.
    memory.clock.freeze(lock.remainingMs);
    respond();
    await memory.clock.settle();

    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'expired' });
  });

  test('a session that is over is never renewed again', async () => {
    await using memory = await openFaultyMemory();
    const stop = memory.store.every(calls.renew, after(memory.clock, 1_000, lostRequest));
    const lock = await memory.createLocker().lock('a');
    await memory.clock.advance(fullMs);
    expect(lock.held).toBe(false);
    stop();
    const before = memory.store.count(calls.renew);

    await memory.clock.advance(60_000);

    expect(memory.store.count(calls.renew)).toBe(before);
  });

  test('lock() opens another session when the lease expired before the response of its grant', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.grant, respondsAfter(memory.clock, 16_000));
    const pending = memory.createLocker({ requestTimeoutMs: 60_000 }).lock('a');

    await memory.clock.advance(16_000);
    const lock = await pending;

    expect(lock.remainingMs).toBeGreaterThan(5_000);
    expect(memory.store.count(calls.grant)).toBe(2);
  });

  test('a failed grant rejects its callers, and the next call sends another grant', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const failure = new Error('refused by the test');
    memory.store.next(calls.grant, refused(failure));

    await expect(Promise.all([locker.lock('a'), locker.lock('b')])).rejects.toBe(failure);
    const lock = await locker.lock('a');

    expect(lock.held).toBe(true);
    expect(memory.store.count(calls.grant)).toBe(2);
  });
});
