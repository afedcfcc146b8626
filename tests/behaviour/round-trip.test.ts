/** Tests of TTLs near the limit of six round trips to etcd, on a store whose every request takes one round trip and each renewal two. */
import { createLocker, EtcdUnavailableError, type Locker, type LockerOptions } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { follow } from '../support/fixtures/holding.ts';

interface Far extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly warnings: string[];
  roundTripMs: number;
  /** The number of renewals to come that get no response within their time limit. */
  hangingRenewals: number;
  create(options: LockerOptions): Locker;
}

function openFar(roundTripMs: number): Far {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const warnings: string[] = [];
  const lockers: Locker[] = [];
  const pass = (ms: number): Promise<void> => new Promise((resolve) => clock.setTimer(ms, resolve));
  const travel = async <T>(send: () => Promise<T>): Promise<T> => {
    await pass(far.roundTripMs / 2);
    const response = await send();
    await pass(far.roundTripMs / 2);
    return response;
  };
  const distant: Store = {
    clock,
    grant: (...args) => travel(() => store.grant(...args)),
    async renew(leaseId, gateKey, timeoutMs) {
      const isHanging = far.hangingRenewals > 0;
      if (isHanging) far.hangingRenewals -= 1;
      const tookMs = 2 * far.roundTripMs;
      if (isHanging || tookMs > timeoutMs) {
        await pass(timeoutMs);
        throw new Error(`no response within ${String(timeoutMs)} ms`);
      }
      const renewal = await travel(() => store.renew(leaseId, gateKey, timeoutMs));
      await pass(far.roundTripMs);
      return renewal;
    },
    leaseKeys: (...args) => travel(() => store.leaseKeys(...args)),
    revoke: (...args) => travel(() => store.revoke(...args)),
    commit: (...args) => travel(() => store.commit(...args)),
    roundTripMs: () => far.roundTripMs,
    watch: (...args) => store.watch(...args),
    close: () => store.close(),
  };
  const quiet = (): void => undefined;
  const logger = { debug: quiet, info: quiet, warn: (line: unknown) => warnings.push(String(line)), error: quiet };
  const far: Far = {
    clock,
    warnings,
    roundTripMs,
    hangingRenewals: 0,
    create: (options) => {
      const locker = createLocker({ store: distant, logger, ...options });
      lockers.push(locker);
      return locker;
    },
    async [Symbol.asyncDispose]() {
      const closed = follow(Promise.all(lockers.map((locker) => locker.close())));
      for (let tries = 0; tries < 30 && !closed.isSettled; tries += 1) await clock.advance(1_000);
      await clock.advance(120_000);
      expect({ isClosed: closed.isSettled, timers: clock.timerCount }).toEqual({ isClosed: true, timers: 0 });
    },
  };
  return far;
}

describe('with six round trips in a TTL', () => {
  test.each([
    [333, 2_000],
    [500, 3_000],
    [1_000, 6_000],
    [2_500, 15_000],
  ])(
    'a round trip of %i ms and a TTL of %i ms: lock(), tryLock() and a hand-over work, and the lock stays held',
    async (roundTripMs, ttlMs) => {
      await using far = openFar(roundTripMs);
      const [one, other] = [far.create({ ttlMs, requestTimeoutMs: 60_000 }), far.create({ ttlMs, requestTimeoutMs: 60_000 })];
      const locked = follow(one.lock('a'));
      const tried = follow(one.tryLock('b', { mode: 'shared' }));
      await far.clock.advance(3 * ttlMs);
      expect([locked.value?.held, tried.value?.held]).toEqual([true, true]);

      const waiting = follow(other.lock('a'));
      await far.clock.advance(50 * ttlMs);

      expect([locked.value?.held, tried.value?.held, waiting.isSettled]).toEqual([true, true, false]);
      void locked.value?.release();
      await far.clock.advance(3 * ttlMs);
      expect(waiting.value?.held).toBe(true);
    },
  );

  test('one warning in a minute says that renewals are close to their limit', async () => {
    await using far = openFar(300);
    const locked = follow(far.create({ ttlMs: 2_000 }).lock('a'));

    await far.clock.advance(55_000);

    expect(locked.value?.held).toBe(true);
    expect(far.warnings).toEqual([
      expect.stringMatching(
        /^etcd-locker: renewals of lease \d+ take 600 ms, close to their limit with a TTL of 2000 ms; set ttlMs to 5000/,
      ),
    ]);
  });

  test('no warning comes with sixteen round trips in a TTL', async () => {
    await using far = openFar(125);
    const locked = follow(far.create({ ttlMs: 2_000 }).lock('a'));

    await far.clock.advance(120_000);

    expect(locked.value?.held).toBe(true);
    expect(far.warnings).toEqual([]);
  });

  test('one renewal without a response costs nothing with ten round trips in a TTL', async () => {
    await using far = openFar(300);
    const locked = follow(far.create({ ttlMs: 3_000 }).lock('a'));
    await far.clock.advance(10_000);
    expect(locked.value?.held).toBe(true);

    for (let round = 0; round < 10; round += 1) {
      far.hangingRenewals = 1;
      await far.clock.advance(9_000);
      expect(far.hangingRenewals).toBe(0);
    }

    expect(locked.value?.held).toBe(true);
  });

  test('a lock stays held when the round trip grows from 1 ms to a ninth of the TTL', async () => {
    await using far = openFar(1);
    const locked = follow(far.create({ ttlMs: 3_000 }).lock('a'));
    await far.clock.advance(10_000);

    far.roundTripMs = 330;
    await far.clock.advance(60_000);

    expect(locked.value?.held).toBe(true);
  });
});

describe('with fewer than six round trips in a TTL', () => {
  test.each([
    [500, 2_000],
    [800, 2_000],
    [1_600, 2_000],
    [1_300, 5_000],
  ])('a round trip of %i ms and a TTL of %i ms: lock() and tryLock() reject, and name the TTL to choose', async (roundTripMs, ttlMs) => {
    await using far = openFar(roundTripMs);
    const locker = far.create({ ttlMs, requestTimeoutMs: 30_000 });
    const calls = [follow(locker.lock('a')), follow(locker.lock('a')), follow(locker.tryLock('b'))];

    await far.clock.advance(8 * ttlMs);

    const needed = `a round trip to etcd takes ${String(roundTripMs)} ms; set ttlMs to at least ${String(6 * roundTripMs)}`;
    for (const call of calls) {
      expect(call.error).toBeInstanceOf(EtcdUnavailableError);
      expect(String(call.error)).toContain(`Cannot keep a lease of ${String(ttlMs)} ms: ${needed}`);
    }
  });

  test('lock() works again when the round trip is short again', async () => {
    await using far = openFar(800);
    const locker = far.create({ ttlMs: 2_000 });
    const failed = follow(locker.lock('a'));
    await far.clock.advance(16_000);
    expect(failed.error).toBeInstanceOf(EtcdUnavailableError);

    far.roundTripMs = 10;
    const locked = follow(locker.lock('a'));
    await far.clock.advance(2_000);

    expect(locked.value?.held).toBe(true);
  });

  test('a slow way at the first opening alone fails no call', async () => {
    await using far = openFar(1_600);
    const locked = follow(far.create({ ttlMs: 2_000 }).lock('a'));
    await far.clock.advance(2_000);

    far.roundTripMs = 10;
    await far.clock.advance(4_000);

    expect(locked.value?.held).toBe(true);
  });
});
