/** Tests of close({ drainMs }): holders get time to release their locks. */
import { type Lock, type Locker, LockerClosedError, type MultiLock } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, openFaultyMemory, unreachable } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const drainMs = 20_000;

/** Opens a locker that holds 'a', and begins to drain it. */
async function openDrain(memory: FaultyMemory, name = 'a') {
  const locker = memory.createLocker();
  const lock = await locker.lock(name);
  const { signal } = lock;
  const closed = follow(locker.close({ drainMs }));
  await memory.clock.settle();
  return { locker, lock, signal, closed };
}

describe('close({ drainMs })', () => {
  test('ends as soon as the last lock is released', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [first, second] = [await locker.lock('a'), await locker.lock('b')];
    const closed = follow(locker.close({ drainMs }));

    await memory.clock.advance(1_000);
    await first.release();
    await memory.clock.advance(1_000);
    expect([closed.isSettled, second.held]).toEqual([false, true]);
    await second.release();
    await memory.clock.settle();

    expect(closed).toMatchObject({ isSettled: true, error: undefined });
    expect(second.signal.aborted).toBe(false);
    expect(memory.clock.timerCount).toBe(0);
  });

  test('ends at once if nothing is held', async () => {
    await using memory = await openFaultyMemory();
    const [unused, used] = [memory.createLocker(), memory.createLocker()];
    await used.withLock('a', () => undefined);

    const closed = [follow(unused.close({ drainMs })), follow(used.close({ drainMs }))];
    await memory.clock.settle();

    expect(closed).toMatchObject([{ isSettled: true }, { isSettled: true }]);
  });

  test('renews the leases while it drains, and takes what is left when the time is over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker({ ttlMs: 3_000 });
    const lock = await locker.lock('a');
    const { signal } = lock;
    const next = follow(memory.createLocker().lock('a'));
    const closed = follow(locker.close({ drainMs }));

    await memory.clock.advance(drainMs - 1);
    expect([lock.held, signal.aborted, next.isSettled, memory.clock.isHeld]).toEqual([true, false, false, true]);
    await memory.clock.advance(1);

    expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
    expect(next.value?.held).toBe(true);
    expect(closed).toMatchObject({ isSettled: true, error: undefined });
  });

  test('rejects all waiting calls at once, and leaves no entry of them', async () => {
    await using memory = await openFaultyMemory();
    const others = memory.createLocker();
    const busy = await others.lock('busy');
    const { locker, lock } = await (async () => {
      const opened = memory.createLocker();
      return { locker: opened, lock: await opened.lock('a') };
    })();
    const waiting = [
      locker.lock('busy'),
      locker.lock('busy'),
      locker.lock('a'),
      locker.tryLock('busy', { timeoutMs: 60_000 }),
      locker.lockAll(['b', 'busy']),
      locker.withLock('busy', () => expect.unreachable('it has no lock')),
      locker.lead('busy', () => expect.unreachable('it has no lock')),
      webLocks(locker).request('busy', () => expect.unreachable('it has no lock')),
    ].map((call) => errorOf(call));
    await memory.clock.advance(100);

    void locker.close({ drainMs });
    const errors = await Promise.all(waiting);

    for (const error of errors.slice(0, 7)) expect(error).toBeInstanceOf(LockerClosedError);
    expect(errors[7]).toMatchObject({ name: 'AbortError' });
    await memory.clock.settle();
    expect([memory.entries('busy').length, memory.entries('b').length, memory.entries('a').length]).toEqual([1, 0, 1]);
    expect([lock.held, busy.held]).toEqual([true, true]);
    await lock.release();
  });

  test('rejects new calls for locks, and those whose request is under way', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.every(calls.creation, after(memory.clock, 1_000));
    const underWay = [locker.lock('b'), locker.tryLock('c'), locker.tryLockAll(['d', 'e']), locker.lockAll(['f', 'g'])].map((call) =>
      errorOf(call),
    );
    await memory.clock.settle();

    void locker.close({ drainMs });
    const later = [
      locker.lock('b'),
      locker.tryLock('b'),
      locker.lockAll(['b']),
      locker.tryLockAll(['b']),
      locker.withLock('b', () => 1),
      locker.lead('b', () => 1),
    ].map((call) => errorOf(call));

    for (const error of await Promise.all([...underWay, ...later])) expect(error).toBeInstanceOf(LockerClosedError);
    await memory.clock.advance(5_000);
    for (const name of ['b', 'c', 'd', 'e', 'f', 'g']) expect(memory.entries(name)).toEqual([]);
    expect(lock.held).toBe(true);
    await lock.release();
  });

  test.each<[string, (locker: Locker) => Promise<{ release(): Promise<void> } | null>]>([
    ['lock', (locker) => locker.lock('f')],
    ['tryLock', (locker) => locker.tryLock('f')],
    ['tryLockAll', (locker) => locker.tryLockAll(['f', 'g', 'h'])],
    ['lock without renewal', (locker) => locker.lock('f', { renew: false })],
  ])('either rejects %s() or lets it drain, at any step of the call', async (_, acquire) => {
    const outcomes = new Set<string>();
    for (let steps = 0; steps < 60; steps += 2) {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      await locker.withLock('warm', () => undefined);
      const acquiring = follow(acquire(locker));
      for (let step = 0; step < steps; step += 1) await Promise.resolve();

      const closed = follow(locker.close({ drainMs }));
      await memory.clock.advance(1_000);

      outcomes.add(acquiring.error === undefined ? 'drains' : 'rejects');
      if (acquiring.error === undefined) {
        expect(closed.isSettled).toBe(false);
        await acquiring.value?.release();
        await memory.clock.settle();
      } else {
        expect(acquiring.error).toBeInstanceOf(LockerClosedError);
      }
      expect(closed.isSettled).toBe(true);
      for (const name of ['f', 'g', 'h']) expect(memory.entries(name)).toEqual([]);
    }
    expect([...outcomes].sort()).toEqual(['drains', 'rejects']);
  });

  test('lets lockAll() wait for no further name, at any step of the call', async () => {
    const rounds = Array.from({ length: 60 }, (_, steps) => steps);
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('g');
    for (const steps of rounds) {
      const locker = memory.createLocker();
      await locker.withLock('warm', () => undefined);
      const acquiring = follow(locker.lockAll(['f', 'g']));
      for (let step = 0; step < steps; step += 1) await Promise.resolve();

      const closed = follow(locker.close({ drainMs }));
      await memory.clock.settle();

      expect(acquiring.error).toBeInstanceOf(LockerClosedError);
      expect(closed.isSettled).toBe(true);
      expect([memory.entries('f').length, memory.entries('g').length]).toEqual([0, 1]);
    }
  });

  test('keeps reads, watches and held locks working until it is over', async () => {
    await using memory = await openFaultyMemory();
    const { locker, lock, closed } = await openDrain(memory);
    const states = locker.watch('a');

    expect((await states.next()).value).toMatchObject({ held: true });
    expect(await locker.inspect('a')).toMatchObject({ held: true });
    expect((await locker.list().next()).value).toMatchObject({ name: 'a' });
    await lock.setValue('finishing');
    expect((await states.next()).value).toMatchObject({ holders: [{ value: 'finishing' }] });
    await lock.release();
    await closed.promise;

    expect(await errorOf(locker.inspect('a'))).toBeInstanceOf(LockerClosedError);
    expect(() => locker.watch('a')).toThrow(LockerClosedError);
    await states.next();
    expect(await states.next()).toMatchObject({ done: true });
  });

  test('releases nothing under a function of withLock() or lead() before the time is over', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const finish: (() => void)[] = [];
    const run = (lock: Lock) =>
      new Promise<string>((resolve, reject) => {
        lock.signal.addEventListener('abort', () => {
          reject(lock.signal.reason as Error);
        });
        finish.push(() => {
          resolve(`done, held ${String(lock.held)}`);
        });
      });
    const running = [follow(locker.withLock('a', run)), follow(locker.lead('b', run))];
    await memory.clock.settle();
    const closed = follow(locker.close({ drainMs }));

    await memory.clock.advance(drainMs - 1_000);
    finish[0]?.();
    await memory.clock.advance(500);
    expect(closed.isSettled).toBe(false);
    finish[1]?.();
    await memory.clock.settle();

    expect(running).toMatchObject([{ value: 'done, held true' }, { value: 'done, held true' }]);
    expect(closed.isSettled).toBe(true);
  });

  test('counts the locks of lockAll(), of Web Locks and without renewal as held', async () => {
    await using memory = await openFaultyMemory();
    const holders: Record<string, (locker: Locker) => Promise<() => unknown>> = {
      lockAll: async (locker) => {
        const locks: MultiLock = await locker.lockAll(['a', 'b']);
        return () => locks.release();
      },
      'Web Locks': (locker) =>
        new Promise((resolve) => {
          void webLocks(locker).request(
            'c',
            () =>
              new Promise<void>((finish) => {
                resolve(finish);
              }),
          );
        }),
      'renew: false': async (locker) => {
        const lock = await locker.lock('d', { renew: false, ttlMs: 30_000 });
        return () => lock.release();
      },
    };
    for (const hold of Object.values(holders)) {
      const locker = memory.createLocker();
      const release = await hold(locker);
      const closed = follow(locker.close({ drainMs }));
      await memory.clock.advance(drainMs / 2);
      expect(closed.isSettled).toBe(false);

      release();
      await memory.clock.settle();

      expect(closed.isSettled).toBe(true);
    }
  });

  test('ends when the last lock is lost: by its lease, a deletion, maxHoldMs or without renewal', async () => {
    await using memory = await openFaultyMemory();
    const losses: Record<string, (locker: Locker) => Promise<Lock>> = {
      deleted: async (locker) => {
        const lock = await locker.lock('a');
        memory.etcd.commit({ compare: [], then: [{ delete: { key: lock.key } }], otherwise: [] });
        return lock;
      },
      'max-hold': (locker) => locker.lock('b', { maxHoldMs: 5_000 }),
      expired: (locker) => locker.lock('c', { renew: false, ttlMs: 5_000 }),
    };
    for (const [reason, acquire] of Object.entries(losses)) {
      const locker = memory.createLocker();
      const { signal } = await acquire(locker);
      const closed = follow(locker.close({ drainMs: 60_000 }));

      await memory.clock.advance(10_000);

      expect(signal.reason).toMatchObject({ reason });
      expect(closed.isSettled).toBe(true);
    }
  });

  test('ends in an outage once the leases are over', async () => {
    await using memory = await openFaultyMemory();
    const { signal, closed } = await openDrain(memory);
    memory.store.every(calls.any, unreachable(memory.clock));

    await memory.clock.advance(15_000);

    expect(signal.reason).toMatchObject({ reason: 'expired' });
    await memory.clock.advance(5_000);
    expect(closed).toMatchObject({ isSettled: true, error: undefined });
  });

  test('is shortened by a later call with less time, and never extended', async () => {
    await using memory = await openFaultyMemory();
    const { locker, lock, signal, closed } = await openDrain(memory);
    await memory.clock.advance(1_000);

    const later = [follow(locker.close({ drainMs: 60_000 })), follow(locker.close({ drainMs: 5_000 }))];
    await memory.clock.advance(4_999);
    expect([lock.held, closed.isSettled]).toEqual([true, false]);
    await memory.clock.advance(1);

    expect(signal.reason).toMatchObject({ reason: 'closed' });
    expect([closed, ...later]).toMatchObject([{ isSettled: true }, { isSettled: true }, { isSettled: true }]);
  });

  test('is ended by close({ drainMs: 0 })', async () => {
    await using memory = await openFaultyMemory();
    const { locker, signal, closed } = await openDrain(memory);

    await locker.close({ drainMs: 0 });

    expect(signal.reason).toMatchObject({ reason: 'closed' });
    await memory.clock.settle();
    expect(closed.isSettled).toBe(true);
  });

  test('is not cut short by close() and the end of an `await using` block, which wait for it', async () => {
    await using memory = await openFaultyMemory();
    const { locker, lock, closed } = await openDrain(memory);

    const others = [follow(locker.close()), follow(Promise.resolve(locker[Symbol.asyncDispose]()))];
    await memory.clock.advance(drainMs - 1);
    expect([closed.isSettled, lock.held]).toEqual([false, true]);
    expect(others).toMatchObject([{ isSettled: false }, { isSettled: false }]);
    await lock.release();
    await memory.clock.settle();

    expect(others).toMatchObject([{ isSettled: true }, { isSettled: true }]);
  });

  test('is over after a freeze of the process that lasts longer', async () => {
    await using memory = await openFaultyMemory();
    const { lock, signal, closed } = await openDrain(memory);

    memory.clock.freeze(60_000);
    expect(lock.held).toBe(false);
    await memory.clock.settle();

    expect(signal.reason).toMatchObject({ reason: 'expired' });
    expect(closed.isSettled).toBe(true);
  });

  test('says how to pass it as a callback, and is one for a hook of a test runner', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();

    const error = await errorOf(locker.close('SIGTERM' as never));

    const message = 'Cannot close locker: expected an object of options, got "SIGTERM"; as a callback, pass () => locker.close()';
    expect(error).toMatchObject({ message });
    // jest waits for a callback of its own in a hook that has a parameter.
    expect(locker.close).toHaveLength(0);
  });

  test.each([{ drainMs: -1 }, { drainMs: '5s' }, { drainMs: Number.NaN }, { drainMs: 3e9 }, { drain: 5 }, null, 5])(
    'rejects %j, names the option, and leaves the locker open',
    async (options) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();

      const error = await errorOf(locker.close(options as never));

      const path = options !== null && typeof options === 'object' ? Object.keys(options)[0] : '';
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path }] });
      expect((await locker.lock('a')).held).toBe(true);
    },
  );
});
