/** Tests of lead(): campaigns, terms, and what ends them. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  InvalidOptionsError,
  type Lock,
  LockerClosedError,
  LockLostError,
} from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { ClientLoadError, TtlTooShortError } from '../../src/errors.ts';
import {
  after,
  calls,
  type FaultyMemory,
  lostRequest,
  lostResponse,
  openFaultyMemory,
  refused,
  spaceRefusal,
  unreachable,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        { once: true },
      );
  });

/** Deletes the entry of the holder. */
function depose(memory: FaultyMemory, name = 'a'): void {
  const [holder] = memory.entries(name);
  if (holder !== undefined) memory.etcd.commit({ compare: [], then: [{ delete: { key: holder.key } }], otherwise: [] });
}

/** Lets a held lock notice a deletion. */
const aBeat = 6_000;

describe('lead()', () => {
  test('resolves with the result of its function, and releases the lock', async () => {
    await using memory = await openFaultyMemory();

    const result = await memory.createLocker().lead('a', (lock) => `held ${String(lock.held)}`);

    expect(result).toBe('held true');
    expect(memory.entries('a')).toEqual([]);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('rejects with the error of its function, thrown at once or later, and releases the lock', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const error = new Error('mine');

    const thrown = await errorOf(
      locker.lead('a', () => {
        throw error;
      }),
    );
    const rejected = await errorOf(locker.lead('a', () => Promise.reject(error)));

    expect([thrown, rejected]).toEqual([error, error]);
    expect(memory.entries('a')).toEqual([]);
  });

  test('takes over when the leader has ended, with a higher term', async () => {
    await using memory = await openFaultyMemory();
    const terms: bigint[] = [];
    const finish: (() => void)[] = [];
    const run = (lock: Lock) =>
      new Promise<void>((resolve) => {
        terms.push(lock.fencingToken);
        finish.push(resolve);
      });
    const [first, second] = [
      follow(memory.createLocker().lead('a', { value: 'one' }, run)),
      follow(memory.createLocker().lead('a', { value: 'two' }, run)),
    ];
    await memory.clock.advance(60_000);
    expect(terms).toHaveLength(1);
    expect(memory.entries('a').map(({ value }) => value)).toEqual(['one', 'two']);

    finish[0]?.();
    await memory.clock.settle();
    expect([first.isSettled, second.isSettled, terms.length]).toEqual([true, false, 2]);
    finish[1]?.();
    await second.promise;

    expect(terms[1]).toBeGreaterThan(terms[0] ?? 0n);
  });

  test('campaigns again after a loss, once its function has settled, and never runs it twice at a time', async () => {
    await using memory = await openFaultyMemory();
    const terms: bigint[] = [];
    let running = 0;
    const leading = follow(
      memory.createLocker().lead('a', async (lock) => {
        terms.push(lock.fencingToken);
        running += 1;
        expect(running).toBe(1);
        if (terms.length === 3) return 'done';
        await aborted(lock.signal);
        // Cleaning up takes longer than a new campaign would.
        await new Promise<void>((resolve) => memory.clock.setTimer(30_000, resolve));
        running -= 1;
        return 'lost';
      }),
    );
    await memory.clock.settle();

    for (let term = 1; term <= 2; term += 1) {
      depose(memory);
      await memory.clock.advance(29_000);
      expect([terms.length, memory.entries('a').length]).toEqual([term, 0]);
      await memory.clock.advance(1_000 + aBeat);
      expect(terms).toHaveLength(term + 1);
    }

    expect(await leading.promise).toBe('done');
    expect(terms).toEqual([...new Set(terms)].sort((a, b) => Number(a - b)));
  });

  test.each<[string, (lock: Lock) => Promise<unknown>]>([
    ['resolves', ({ signal }) => aborted(signal)],
    ['rejects with the loss', ({ signal }) => aborted(signal).then(() => Promise.reject(signal.reason as Error))],
    ['is aborted by lock.signal', ({ signal }) => sleep(600_000, undefined, { signal })],
    ['wraps the loss', ({ signal }) => aborted(signal).then(() => Promise.reject(new Error('poll', { cause: signal.reason })))],
    [
      'is aborted by a controller that follows lock.signal',
      ({ signal }) => {
        const controller = new AbortController();
        signal.addEventListener('abort', () => {
          controller.abort();
        });
        return sleep(600_000, undefined, { signal: controller.signal });
      },
    ],
    [
      'fails with the loss of another lock',
      ({ signal }) => aborted(signal).then(() => Promise.reject(new LockLostError('b', 1n, 'expired'))),
    ],
    [
      'reads the loss from the lock',
      async (lock) => {
        await aborted(lock.signal);
        await lock.setValue('x');
      },
    ],
  ])('campaigns again when its function, after a loss, %s', async (_, run) => {
    await using memory = await openFaultyMemory();
    let terms = 0;
    const leading = follow(
      memory.createLocker().lead('a', async (lock) => {
        terms += 1;
        if (terms === 1) await run(lock);
        return lock.held;
      }),
    );
    await memory.clock.settle();

    depose(memory);
    await memory.clock.advance(2 * aBeat);

    expect(leading).toMatchObject({ isSettled: true, value: true });
    expect(terms).toBe(2);
  });

  test('rejects with an error of its function that is unrelated to the loss', async () => {
    await using memory = await openFaultyMemory();
    const own = new TypeError('mine');
    const leading = follow(
      memory.createLocker().lead('a', async ({ signal }) => {
        await aborted(signal);
        throw own;
      }),
    );
    await memory.clock.settle();

    depose(memory);
    await memory.clock.advance(aBeat);

    expect(leading.error).toBe(own);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('rejects with an AbortError of its function if the lock was not lost', async () => {
    await using memory = await openFaultyMemory();
    const stop = new AbortController();
    const leading = follow(
      memory.createLocker().lead('a', ({ signal }) => sleep(600_000, undefined, { signal: AbortSignal.any([signal, stop.signal]) })),
    );
    await memory.clock.settle();

    stop.abort();
    await sleep(0);
    await memory.clock.settle();

    expect(leading.error).toMatchObject({ name: 'AbortError' });
    expect(memory.entries('a')).toEqual([]);
  });

  test('runs no term with a lock that was lost before its function could begin', async () => {
    await using memory = await openFaultyMemory();
    let terms = 0;
    // The response to the creation arrives, and then the process freezes for longer than the lease lasts.
    memory.store.next(calls.creation, async (send) => {
      const response = await send();
      queueMicrotask(() => {
        memory.clock.freeze(60_000);
      });
      return response;
    });
    const leading = follow(
      memory.createLocker().lead('a', (lock) => {
        terms += 1;
        return lock.held;
      }),
    );

    await memory.clock.advance(20_000);

    expect(leading).toMatchObject({ isSettled: true, value: true });
    expect(terms).toBe(1);
  });

  test('begins a new term after maxHoldMs, behind those that wait', async () => {
    await using memory = await openFaultyMemory();
    const leaders: string[] = [];
    const stop = new AbortController();
    const run = (name: string) =>
      memory.createLocker().lead('a', { maxHoldMs: 10_000, signal: stop.signal }, async ({ signal }) => {
        leaders.push(name);
        await aborted(signal);
      });
    const leading = [errorOf(run('one')), errorOf(run('two'))];

    await memory.clock.advance(39_000);
    stop.abort(new Error('enough'));
    await memory.clock.advance(10_000);

    expect(leaders).toEqual(['one', 'two', 'one', 'two']);
    expect(await Promise.all(leading)).toMatchObject([{ message: 'enough' }, { message: 'enough' }]);
  });

  test('does not spin when each term is lost at once', async () => {
    await using memory = await openFaultyMemory();
    let terms = 0;
    const leading = follow(
      memory.createLocker().lead('a', { maxHoldMs: 1 }, async ({ signal }) => {
        terms += 1;
        await aborted(signal);
        if (terms === 20) throw new Error('enough');
      }),
    );

    await memory.clock.advance(10_000);
    expect(terms).toBeLessThan(20);
    expect(terms).toBeGreaterThan(5);
    await memory.clock.advance(20_000);

    expect(leading.error).toMatchObject({ message: 'enough' });
  });
});

describe('lead() in an outage', () => {
  test('campaigns until etcd responds, at a pace of about one request per requestTimeoutMs', async () => {
    await using memory = await openFaultyMemory();
    const warnings: unknown[] = [];
    const ignore = (): void => undefined;
    const logger = { debug: ignore, info: ignore, error: ignore, warn: (line: unknown) => warnings.push(line) };
    const stopFault = memory.store.every(calls.any, unreachable(memory.clock));
    const leading = follow(memory.createLocker({ logger }).lead('a', (lock) => lock.held));

    await memory.clock.advance(600_000);
    expect(leading.isSettled).toBe(false);
    expect(memory.clock.isHeld).toBe(true);
    expect(memory.store.calls.length).toBeLessThan(600);
    expect(warnings.length).toBeGreaterThan(10);
    stopFault();
    await memory.clock.advance(10_000);

    expect(leading).toMatchObject({ isSettled: true, value: true });
  });

  test('does not spin when etcd refuses connections at once', async () => {
    await using memory = await openFaultyMemory();
    const stopFault = memory.store.every(calls.any, lostRequest);
    const leading = follow(memory.createLocker().lead('a', (lock) => lock.held));

    await memory.clock.advance(60_000);
    expect(memory.store.calls.length).toBeLessThan(200);
    stopFault();
    await memory.clock.advance(2_000);

    expect(leading).toMatchObject({ isSettled: true, value: true });
  });

  test('loses its term when the outage outlasts the lease, and leads again afterwards', async () => {
    await using memory = await openFaultyMemory();
    const reasons: unknown[] = [];
    const leading = follow(
      memory.createLocker().lead('a', async ({ signal }) => {
        if (reasons.length === 1) return 'again';
        await aborted(signal);
        reasons.push((signal.reason as LockLostError).reason);
        throw signal.reason;
      }),
    );
    await memory.clock.settle();
    const stopFault = memory.store.every(calls.any, unreachable(memory.clock));

    await memory.clock.advance(120_000);
    expect(reasons).toEqual(['expired']);
    stopFault();
    await memory.clock.advance(10_000);

    expect(await leading.promise).toBe('again');
  });

  test.each([
    ['the response to its creation is lost', calls.creation, lostResponse],
    ['a round trip is too slow for its TTL', calls.grant, refused(new TtlTooShortError(2_000, 900))],
    ['etcd is full', calls.grant, refused(spaceRefusal)],
  ])('campaigns again when %s', async (_, match, fault) => {
    await using memory = await openFaultyMemory();
    memory.store.next(match, fault, fault, fault);

    const leading = follow(memory.createLocker().lead('a', (lock) => lock.held));
    await memory.clock.advance(30_000);

    expect(leading).toMatchObject({ isSettled: true, value: true });
  });

  test.each([
    ['wrong credentials', new EtcdAuthError('locks/', 'permission denied')],
    ['a corrupt cluster', new EtcdRefusedError('corrupt', { isFinal: true })],
    ['a client that cannot be loaded', new ClientLoadError(new Error('no module'))],
  ])('rejects with an error that no retry can mend: %s', async (_, error) => {
    await using memory = await openFaultyMemory();
    const stopFault = memory.store.every(calls.grant, refused(error));

    expect(await errorOf(memory.createLocker().lead('a', () => 1))).toBe(error);
    expect(memory.clock.isHeld).toBe(false);
    stopFault();
  });
});

describe('the end of lead()', () => {
  test.each<[string, (memory: FaultyMemory) => Promise<() => void>]>([
    [
      'waits in the queue',
      async (memory) => {
        const lock = await memory.createLocker().lock('a');
        return () => void lock.release();
      },
    ],
    ['waits for etcd', (memory) => Promise.resolve(memory.store.every(calls.any, unreachable(memory.clock)))],
    ['pauses', (memory) => Promise.resolve(memory.store.every(calls.any, lostRequest))],
  ])('an abort of `signal` and close() end a campaign that %s', async (_, obstruct) => {
    await using memory = await openFaultyMemory();
    const end = await obstruct(memory);
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const controller = new AbortController();
    const reason = new Error('stop');
    const campaigns = [
      follow(locker.lead('a', { signal: controller.signal }, () => expect.unreachable('it has no lock'))),
      follow(other.lead('a', () => expect.unreachable('it has no lock'))),
    ];
    await memory.clock.advance(30_000);
    expect(campaigns).toMatchObject([{ isSettled: false }, { isSettled: false }]);

    controller.abort(reason);
    const closed = other.close();
    await memory.clock.settle();

    expect(campaigns[0]?.error).toBe(reason);
    expect(campaigns[1]?.error).toBeInstanceOf(LockerClosedError);
    end();
    await memory.clock.advance(6_000);
    await closed;
  });

  test('an abort of `signal` lets a running function go on, and ends the campaigns after it', async () => {
    await using memory = await openFaultyMemory();
    const controller = new AbortController();
    const finish: (() => void)[] = [];
    const run = () =>
      new Promise<string>((resolve) => {
        finish.push(() => {
          resolve('finished');
        });
      });
    const locker = memory.createLocker();
    const [kept, lost] = [
      follow(locker.lead('a', { signal: controller.signal }, run)),
      follow(locker.lead('b', { signal: controller.signal }, run)),
    ];
    await memory.clock.settle();

    controller.abort(new Error('stop'));
    depose(memory, 'b');
    await memory.clock.advance(aBeat);
    expect([kept.isSettled, lost.isSettled, memory.entries('a').length]).toEqual([false, false, 1]);
    for (const one of finish) one();
    await memory.clock.settle();

    expect(kept.value).toBe('finished');
    expect(lost.error).toMatchObject({ message: 'stop' });
  });

  test('close() aborts the signal of a running function, and lead() rejects once the function has settled', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const reasons: unknown[] = [];
    const leading = follow(
      locker.lead('a', async ({ signal }) => {
        await aborted(signal);
        reasons.push(signal.reason);
        await new Promise<void>((resolve) => memory.clock.setTimer(1_000, resolve));
      }),
    );
    await memory.clock.settle();

    await locker.close();
    expect(reasons).toMatchObject([{ code: 'LOCK_LOST', reason: 'closed' }]);
    expect([leading.isSettled, memory.clock.isHeld]).toEqual([false, true]);
    await memory.clock.advance(1_000);

    expect(leading.error).toBeInstanceOf(LockerClosedError);
    expect(memory.clock.isHeld).toBe(false);
  });

  test.each([{ timeoutMs: 1 }, { mode: 'shared' }, { slots: 2 }, { renew: false }, { ttlMs: 1 }, { signal: 1 }, { maxHoldMs: 0 }, null])(
    'lead() rejects %j, and sends no request',
    async (options) => {
      await using memory = await openFaultyMemory();

      const error = await errorOf(memory.createLocker().lead('a', options as never, () => 1));

      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect(memory.store.calls).toEqual([]);
    },
  );

  test.each([
    ['a loss', (memory: FaultyMemory) => memory.createLocker().lock('outer', { maxHoldMs: 1_000 })],
    [
      'an outage',
      (memory: FaultyMemory) => {
        const controller = new AbortController();
        memory.clock.setTimer(1_000, () => {
          controller.abort(new EtcdUnavailableError(5_000, []));
        });
        return controller;
      },
    ],
  ])('ends its campaign if its signal aborts with an error that lead() takes for %s', async (_, open) => {
    await using memory = await openFaultyMemory();
    const holder = await memory.createLocker().lock('a');
    const { signal } = await open(memory);
    const leading = errorOf(memory.createLocker().lead('a', { signal }, () => 1));

    await memory.clock.advance(1_000);

    expect(await leading).toBe(signal.reason);
    await holder.release();
  });

  test('a signal that has aborted and a closed locker reject at once', async () => {
    await using memory = await openFaultyMemory();
    const [locker, closed] = [memory.createLocker(), memory.createLocker()];
    await closed.close();
    const reason = new Error('stop');

    expect(await errorOf(locker.lead('a', { signal: AbortSignal.abort(reason) }, () => 1))).toBe(reason);
    expect(await errorOf(closed.lead('a', () => 1))).toBeInstanceOf(LockerClosedError);
    expect(await errorOf(locker.lead('', () => 1))).toBeInstanceOf(InvalidOptionsError);
    expect(memory.store.calls).toEqual([]);
  });

  test('leaves no listener on `signal`, and no timer', async () => {
    await using memory = await openFaultyMemory();
    const { signal } = new AbortController();
    let count = 0;
    const counted = new Proxy(signal, {
      get: (target, key) => {
        if (key === 'addEventListener') count += 1;
        if (key === 'removeEventListener') count -= 1;
        const member: unknown = Reflect.get(target, key);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    memory.store.next(calls.grant, after(memory.clock, 100));
    const leading = follow(memory.createLocker().lead('a', { signal: counted }, () => 1));
    await memory.clock.advance(1_000);

    expect(leading.value).toBe(1);
    expect(count).toBe(0);
  });
});
