import type { Lock, LockManager } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { deferred } from '../../../src/deferred.ts';
import { follow } from '../../support/fixtures/holding.ts';
import { hold, kindOf, type OpenLocks } from '../../support/fixtures/web-locks.ts';

const never = (): never => {
  throw new Error('must not be called');
};

/** Requests that record the order in which they get their locks. Each releases its lock at once. */
function journal(locks: LockManager): {
  readonly granted: string[];
  ask: (text: string, name: string, options?: object) => Promise<unknown>;
} {
  const granted: string[] = [];
  const ask = (text: string, name: string, options: object = {}): Promise<unknown> =>
    locks.request(name, options, () => {
      granted.push(text);
      return text;
    });
  return { granted, ask };
}

export function webLocksRequest(open: OpenLocks): void {
  describe('§2.5 Locks: the waiting promise and the released promise', () => {
    test('the callback gets a Lock with the name and the mode, read-only', async () => {
      await using fixture = await open();
      const [exclusive, shared] = [await hold(fixture.locks, 'a'), await hold(fixture.locks, 'b', { mode: 'shared' })];

      expect([exclusive.lock?.name, exclusive.lock?.mode]).toEqual(['a', 'exclusive']);
      expect([shared.lock?.name, shared.lock?.mode]).toEqual(['b', 'shared']);
      expect(() => Object.assign(exclusive.lock as Lock, { name: 'other' })).toThrow(TypeError);
      expect(Object.prototype.toString.call(exclusive.lock)).toBe('[object Lock]');

      exclusive.release();
      shared.release();
      await Promise.all([exclusive.request, shared.request]);
    });

    test('the callback runs after the call, with one argument and without `this`', async () => {
      await using fixture = await open();
      let called: unknown[] = [];

      const request = fixture.locks.request('a', function (this: unknown, ...given) {
        called = [this, given.length];
      });

      expect(called).toEqual([]);
      await request;
      expect(called).toEqual([undefined, 1]);
    });

    test.each([
      ['a value', () => 42, 42],
      ['nothing', () => undefined, undefined],
      ['a promise', () => Promise.resolve('later'), 'later'],
      ['a thenable', () => ({ then: (resolve: (value: string) => void) => { resolve('then'); } }), 'then'], // prettier-ignore
      ['null', () => null, null],
    ])('request() resolves with the result of its callback: %s', async (_, callback: () => unknown, result) => {
      await using fixture = await open();

      expect(await fixture.locks.request('a', callback)).toBe(result);
    });

    test.each([
      ['throws', () => { throw new RangeError('mine'); }], // prettier-ignore
      ['rejects', () => Promise.reject(new RangeError('mine'))],
      ['returns a thenable that throws', () => ({ then: () => { throw new RangeError('mine'); } })], // prettier-ignore
    ])(
      'request() rejects with the error of its callback, and the lock is released, if the callback %s',
      async (_, callback: () => unknown) => {
        await using fixture = await open();

        expect(await kindOf(fixture.locks.request('a', callback))).toEqual(new RangeError('mine'));

        expect(await fixture.locks.request('a', { ifAvailable: true }, (lock) => lock?.name)).toBe('a');
      },
    );

    test('the lock is held until the promise of the callback settles', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a');
      const next = follow(locks.request('a', () => 'next'));
      await fixture.until(async () => {
        expect((await locks.query()).pending).toHaveLength(1);
      });

      expect(await locks.request('a', { ifAvailable: true }, (lock) => lock)).toBeNull();
      expect(next.isSettled).toBe(false);
      held.release('held');

      expect(await held.request).toBe('held');
      expect(await next.promise).toBe('next');
    });

    test('the lock is released before the request settles', async () => {
      await using fixture = await open();
      const { locks } = fixture;

      await locks.request('a', () => 'done');

      expect(await locks.request('a', { ifAvailable: true }, (lock) => lock?.name)).toBe('a');
      expect(await locks.query()).toEqual({ held: [], pending: [] });
    });

    test('requests of one client settle in the order of their locks', async () => {
      await using fixture = await open();
      const settled: number[] = [];

      const requests = [1, 2, 3, 4].map((number) => fixture.locks.request('a', () => number).then((value) => settled.push(value)));
      await Promise.all(requests);

      expect(settled).toEqual([1, 2, 3, 4]);
    });
  });

  describe('§2.4 Modes and scheduling, §2.6 grantable', () => {
    test('an exclusive lock is held alone, in the order of the requests', async () => {
      await using fixture = await open();
      let holders = 0;
      const order: number[] = [];

      await Promise.all(
        [1, 2, 3, 4, 5].map((number) =>
          fixture.locks.request('a', async () => {
            holders += 1;
            order.push(number);
            expect(holders).toBe(1);
            await Promise.resolve();
            holders -= 1;
          }),
        ),
      );

      expect(order).toEqual([1, 2, 3, 4, 5]);
    });

    test('shared locks are held together, and an exclusive request waits for all of them', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const shared = [await hold(locks, 'a', { mode: 'shared' }), await hold(locks, 'a', { mode: 'shared' })];
      const exclusive = follow(locks.request('a', () => 'exclusive'));

      shared[0]?.release();
      await shared[0]?.request;
      expect(exclusive.isSettled).toBe(false);
      shared[1]?.release();

      expect(await exclusive.promise).toBe('exclusive');
    });

    test('a shared request waits behind an exclusive one, even while shared locks are held', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const { granted, ask } = journal(locks);
      const held = await hold(locks, 'a', { mode: 'shared' });

      const requests = [ask('exclusive', 'a'), ask('shared', 'a', { mode: 'shared' })];
      expect(await locks.request('a', { mode: 'shared', ifAvailable: true }, (lock) => lock)).toBeNull();
      expect(granted).toEqual([]);
      held.release();
      await Promise.all(requests);

      expect(granted).toEqual(['exclusive', 'shared']);
    });

    test('callbacks of shared requests that are granted together run in the order of the requests', async () => {
      await using fixture = await open();
      for (let round = 0; round < 100; round += 1) {
        const name = `shared ${String(round)}`;
        const granted: number[] = [];
        const requests = [1, 2, 3].map((index) =>
          fixture.locks.request(name, { mode: 'shared' }, () => {
            granted.push(index);
          }),
        );
        await Promise.all(requests);

        expect(granted).toEqual([1, 2, 3]);
      }
    });

    test('callbacks of both modes run in the order of the requests', async () => {
      await using fixture = await open();
      for (let round = 0; round < 20; round += 1) {
        const name = `mixed ${String(round)}`;
        const granted: string[] = [];
        const request = (label: string, mode: 'exclusive' | 'shared', until: Promise<unknown> = Promise.resolve()) =>
          fixture.locks.request(name, { mode }, () => {
            granted.push(label);
            return until;
          });
        const { promise, resolve } = deferred();

        // The two readers before the writer hold together; those behind it wait for it.
        const first = [request('shared 1', 'shared', promise), request('shared 2', 'shared', promise)];
        const rest = [request('exclusive', 'exclusive'), request('shared 3', 'shared'), request('shared 4', 'shared')];
        await fixture.until(() => {
          expect(granted).toEqual(['shared 1', 'shared 2']);
        });
        resolve();
        await Promise.all([...first, ...rest]);

        expect(granted).toEqual(['shared 1', 'shared 2', 'exclusive', 'shared 3', 'shared 4']);
      }
    });

    test('locks of different names are independent', async () => {
      await using fixture = await open();
      const held = await hold(fixture.locks, 'a');

      expect(await fixture.locks.request('b', () => 'b')).toBe('b');

      held.release();
      await held.request;
    });

    test('a callback may make a request', async () => {
      await using fixture = await open();
      const { locks } = fixture;

      expect(await locks.request('a', () => locks.request('b', (lock) => lock?.name))).toBe('b');
    });
  });

  describe('§4.2.1 ifAvailable', () => {
    test('it gets a free lock', async () => {
      await using fixture = await open();

      expect(await fixture.locks.request('a', { ifAvailable: true }, (lock) => lock?.mode)).toBe('exclusive');
    });

    test('the callback gets null if the lock is held, and its result is that of the request', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a');

      expect(await locks.request('a', { ifAvailable: true }, (lock) => [lock])).toEqual([null]);
      expect(await locks.request('a', { ifAvailable: true, mode: 'shared' }, (lock) => [lock])).toEqual([null]);
      const failing = locks.request('a', { ifAvailable: true }, () => {
        throw new RangeError('mine');
      });
      expect(await kindOf(failing)).toEqual(new RangeError('mine'));
      expect(await kindOf(locks.request('a', { ifAvailable: true }, () => Promise.reject(new RangeError('later'))))).toEqual(
        new RangeError('later'),
      );

      expect((await locks.query()).held).toHaveLength(1);
      held.release();
      await held.request;
    });

    test('a shared request gets the lock beside shared holders, an exclusive request does not', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a', { mode: 'shared' });

      expect(await locks.request('a', { mode: 'shared', ifAvailable: true }, (lock) => lock?.mode)).toBe('shared');
      expect(await locks.request('a', { ifAvailable: true }, (lock) => lock)).toBeNull();

      held.release();
      await held.request;
    });

    test.each(['exclusive', 'shared'] as const)('requests of one tick are decided in the order of their calls: %s', async (mode) => {
      await using fixture = await open();
      const { locks } = fixture;
      const got: string[] = [];
      const ask = (text: string, options: object): Promise<unknown> =>
        locks.request('a', options, async (lock) => {
          got.push(`${text}: ${lock === null ? 'null' : lock.mode}`);
          await new Promise((resolve) => setImmediate(resolve));
        });

      await Promise.all([ask('first', { mode, ifAvailable: true }), ask('second', {}), ask('third', { ifAvailable: true })]);

      expect(got).toHaveLength(3);
      expect(got).toEqual(expect.arrayContaining([`first: ${mode}`, 'second: exclusive', 'third: null']));
      expect(got.indexOf(`first: ${mode}`)).toBeLessThan(got.indexOf('second: exclusive'));
    });
  });

  describe('§5.3 Abort a request', () => {
    test('a waiting request rejects with the reason of its signal, and its entry is deleted', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a');
      const controller = new AbortController();
      const reason = { mine: true };
      const aborted = locks.request('a', { signal: controller.signal }, never);
      const next = locks.request('a', () => 'next');

      controller.abort(reason);

      await expect(aborted).rejects.toBe(reason);
      expect((await locks.query()).pending).toHaveLength(1);
      held.release();
      expect(await next).toBe('next');
    });

    test('the default reason is an AbortError, that of a timeout a TimeoutError', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a');
      const controller = new AbortController();
      const aborted = kindOf(locks.request('a', { signal: controller.signal }, never));
      const late = kindOf(locks.request('a', { signal: AbortSignal.timeout(20) }, never));

      controller.abort();

      expect(await aborted).toBe('DOMException AbortError');
      expect(await late).toBe('DOMException TimeoutError');
      held.release();
      await held.request;
    });

    test('after an abort in the tick of the request the callback is not called, even if the lock is free', async () => {
      await using fixture = await open();
      const controller = new AbortController();

      const aborted = fixture.locks.request('a', { signal: controller.signal }, never);
      controller.abort();

      expect(await kindOf(aborted)).toBe('DOMException AbortError');
      expect(await fixture.locks.request('a', () => 'free')).toBe('free');
    });

    test('an abort admits the requests that waited behind the aborted one', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a', { mode: 'shared' });
      const controller = new AbortController();
      const aborted = kindOf(locks.request('a', { signal: controller.signal }, never));
      const shared = locks.request('a', { mode: 'shared' }, () => 'shared');

      controller.abort();

      expect(await shared).toBe('shared');
      expect(await aborted).toBe('DOMException AbortError');
      held.release();
      await held.request;
    });

    test('the signal has no effect once the lock is held', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const controller = new AbortController();
      const held = await hold(locks, 'a', { signal: controller.signal });

      controller.abort();

      expect(await locks.request('a', { ifAvailable: true }, (lock) => lock)).toBeNull();
      held.release('kept');
      expect(await held.request).toBe('kept');
    });

    test('the signal has no effect within the callback', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const controller = new AbortController();

      const request = locks.request('a', { signal: controller.signal }, async () => {
        controller.abort();
        return locks.request('a', { ifAvailable: true }, (lock) => lock);
      });

      expect(await request).toBeNull();
    });

    test('an abort counts even if another listener of the signal stops the event', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = await hold(locks, 'a');
      const controller = new AbortController();
      const aborted = (): Promise<unknown> => kindOf(locks.request('a', { signal: controller.signal }, never));
      controller.signal.addEventListener('abort', (event) => {
        event.stopImmediatePropagation();
      });
      const waiting = [aborted(), aborted()];

      controller.abort();

      expect(await Promise.all(waiting)).toEqual(Array(2).fill('DOMException AbortError'));
      expect((await locks.query()).pending).toEqual([]);
      held.release();
      await held.request;
    });

    test('an abort after the lock was released changes nothing', async () => {
      await using fixture = await open();
      const controller = new AbortController();

      const request = fixture.locks.request('a', { signal: controller.signal }, () => 'done');
      expect(await request).toBe('done');
      controller.abort();

      expect(await request).toBe('done');
    });

    test('one signal aborts all of its requests', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const held = [await hold(locks, 'a'), await hold(locks, 'b')];
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = ['a', 'a', 'b'].map((name) => kindOf(locks.request(name, { signal }, never)));

      controller.abort();

      expect(await Promise.all(waiting)).toEqual(Array(3).fill('DOMException AbortError'));
      for (const { release } of held) release();
      await Promise.all(held.map(({ request }) => request));
    });
  });
}
