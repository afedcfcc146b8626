import { isLockerError } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { deferred } from '../../../src/deferred.ts';
import { follow } from '../../support/fixtures/holding.ts';
import { hold, kindOf } from '../../support/fixtures/web-locks.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

const kinds = (list: readonly { name: string; mode: string }[]): string[] => list.map(({ name, mode }) => `${name} ${mode}`);

/** Tests with several clients, and tests that read the entries in etcd. */
export function webLocksMachines(open: OpenFixture): void {
  describe('§2.3 Lock managers: clients share one', () => {
    test('webLocks() returns one LockManager for each locker, and throws for any other object', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();

      expect(webLocks(locker)).toBe(webLocks(locker));
      expect(webLocks(fixture.createLocker())).not.toBe(webLocks(locker));
      expect(() => webLocks({ ...locker })).toThrow(TypeError);
    });

    test('clients and locker.lock() exclude each other, in the order of their arrival', async () => {
      await using fixture = await open();
      const [locker, locks] = [fixture.createLocker(), webLocks(fixture.createLocker())];
      const lock = await locker.lock('a');

      expect(await locks.request('a', { ifAvailable: true }, (got) => got)).toBeNull();
      const next = follow(locks.request('a', () => 'next'));
      await fixture.pass(20);
      expect(next.isSettled).toBe(false);
      await lock.release();

      expect(await next.promise).toBe('next');
    });

    test('the lock also has the token and the guard of its entry', async () => {
      await using fixture = await open();
      const held = await hold(webLocks(fixture.createLocker()), 'a');
      const [entry] = await fixture.entries('a');

      expect(held.lock).toMatchObject({
        fencingToken: entry?.createRevision,
        guard: [entry?.key, 'Create', '==', String(entry?.createRevision)],
      });
      expect(held.lock?.signal.aborted).toBe(false);
      held.release();
      await held.request;
      expect(held.lock?.signal.aborted).toBe(false);
    });

    test('any DOMString is a name', async () => {
      await using fixture = await open();
      const [one, other] = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const names = ['', '\0', '\ud800', '\udc00', '\udc00\ud800', 'a\ud83d', '\ud83d\ude00', '/', '%uD800', '@empty', 'a', 'a/b', ' '];

      const held = await Promise.all(names.map((name) => hold(one, name)));
      const got = await Promise.all(names.map((name) => other.request(name, { ifAvailable: true }, (lock) => lock)));
      const state = await other.query();

      expect(got).toEqual(names.map(() => null));
      expect(state.held.map(({ name }) => name).sort()).toEqual([...names].sort());
      for (const { release } of held) release();
      await Promise.all(held.map(({ request }) => request));
    });
  });

  describe('§5.1 steal', () => {
    test('it takes the lock: the request that held it rejects with AbortError and its signal aborts, but its callback continues', async () => {
      await using fixture = await open();
      const [one, other] = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const victim = await hold(one, 'a');
      const outcome = follow(victim.request);

      const thief = await hold(other, 'a', { steal: true });
      await fixture.until(() => {
        expect(outcome.isSettled).toBe(true);
      });

      expect(outcome.error).toBeInstanceOf(DOMException);
      expect(outcome.error).toMatchObject({ name: 'AbortError' });
      expect(victim.lock?.signal.reason).toBe(outcome.error);
      expect((outcome.error as { cause: unknown }).cause).toSatisfy(isLockerError);
      expect((await one.query()).held).toHaveLength(1);
      expect(thief.lock?.fencingToken).toBeGreaterThan(victim.lock?.fencingToken ?? 0n);
      // Its late release must not release the lock of the other request.
      victim.release();
      await fixture.pass(20);
      expect(await one.request('a', { ifAvailable: true }, (lock) => lock)).toBeNull();
      thief.release('stolen');
      expect(await thief.request).toBe('stolen');
    });

    test('a request with steal gets a free lock', async () => {
      await using fixture = await open();

      expect(await webLocks(fixture.createLocker()).request('a', { steal: true }, (lock) => lock?.mode)).toBe('exclusive');
    });

    test('a client can steal its own lock, several times', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const first = await hold(locks, 'a');
      const second = await hold(locks, 'a', { steal: true });
      const third = await hold(locks, 'a', { steal: true });

      expect(await kindOf(first.request)).toBe('DOMException AbortError');
      expect(await kindOf(second.request)).toBe('DOMException AbortError');
      third.release('third');
      expect(await third.request).toBe('third');
      expect(await locks.query()).toEqual({ held: [], pending: [] });
    });

    test('all shared holders lose the lock, on every machine', async () => {
      await using fixture = await open();
      const clients = [1, 2, 3].map(() => webLocks(fixture.createLocker()));
      const victims = await Promise.all([...clients, ...clients].map((locks) => hold(locks, 'a', { mode: 'shared' })));
      const outcomes = victims.map(({ request }) => kindOf(request));

      const thief = await hold(webLocks(fixture.createLocker()), 'a', { steal: true });
      for (const { lock } of victims) {
        await fixture.until(() => {
          expect(lock?.signal.aborted).toBe(true);
        });
      }

      expect(await Promise.all(outcomes)).toEqual(victims.map(() => 'DOMException AbortError'));
      thief.release();
      await thief.request;
    });

    test('waiters continue to wait behind the request that stole the lock', async () => {
      await using fixture = await open();
      const [one, other] = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const victim = await hold(one, 'a');
      const outcome = kindOf(victim.request);
      const order: string[] = [];
      const waiting = [one.request('a', () => order.push('one')), other.request('a', { mode: 'shared' }, () => order.push('other'))];
      await fixture.until(async () => {
        expect((await one.query()).pending).toHaveLength(2);
      });

      const thief = await hold(one, 'a', { steal: true });
      await fixture.pass(50);
      const state = await one.query();

      expect(order).toEqual([]);
      expect([kinds(state.held), kinds(state.pending).sort()]).toEqual([['a exclusive'], ['a exclusive', 'a shared']]);
      thief.release();
      await Promise.all([thief.request, ...waiting]);
      expect(await outcome).toBe('DOMException AbortError');
      expect([...order].sort()).toEqual(['one', 'other']);
    });

    test('of several requests with steal in one tick, each gets the lock and the last keeps it', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const thieves = await Promise.all([1, 2, 3].map(() => hold(locks, 'a', { steal: true })));

      thieves[2]?.release('last');

      expect(await Promise.all(thieves.map(({ request }) => kindOf(request)))).toEqual([
        'DOMException AbortError',
        'DOMException AbortError',
        { resolved: 'last' },
      ]);
    });

    test('of two requests with steal on two machines, one keeps the lock', async () => {
      await using fixture = await open();
      const clients = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const thieves = await Promise.all(clients.map((locks) => hold(locks, 'a', { steal: true })));
      const outcomes = thieves.map(({ request }) => kindOf(request));
      await fixture.until(() => {
        expect(thieves.filter(({ lock }) => lock?.signal.aborted === true)).toHaveLength(1);
      });

      for (const { release } of thieves) release('kept');

      expect((await Promise.all(outcomes)).map(String).sort()).toEqual(['DOMException AbortError', '[object Object]']);
    });

    test('an earlier request of the same client gets the lock before it is stolen', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const [first, thief] = [hold(locks, 'a'), hold(locks, 'a', { steal: true })];

      expect(await kindOf((await first).request)).toBe('DOMException AbortError');
      (await thief).release();
      await (
        await thief
      ).request;
    });
  });

  describe('§5.5 Snapshot the lock state', () => {
    test('held and pending have name, mode and client, in order; requests without an entry are visible to their own client only', async () => {
      await using fixture = await open();
      const [one, other] = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const held = [await hold(one, 'a'), await hold(other, 'b', { mode: 'shared' })];
      const asked = [other, one].flatMap((locks) => [locks.request('a', () => 1), locks.request('a', { mode: 'shared' }, () => 2)]);
      await other.query();

      const [ofOne, ofOther] = [await one.query(), await other.query()];

      const [a, b] = ofOne.held;
      expect(ofOne.held).toEqual([
        { name: 'a', mode: 'exclusive', clientId: a?.clientId },
        { name: 'b', mode: 'shared', clientId: b?.clientId },
      ]);
      expect(a?.clientId).not.toBe(b?.clientId);
      expect(ofOther.held).toEqual(ofOne.held);
      const inEtcd = [
        { name: 'a', mode: 'exclusive', clientId: b?.clientId },
        { name: 'a', mode: 'shared', clientId: b?.clientId },
      ];
      expect(ofOther.pending).toEqual(inEtcd);
      expect(ofOne.pending).toEqual([
        ...inEtcd,
        { name: 'a', mode: 'exclusive', clientId: a?.clientId },
        { name: 'a', mode: 'shared', clientId: a?.clientId },
      ]);
      for (const { release } of held) release();
      await Promise.all([...held.map(({ request }) => request), ...asked]);
    });

    test('the members have the order of a Web IDL dictionary', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const held = await hold(locks, 'a');
      const waiting = locks.request('a', () => undefined);

      const state = await locks.query();

      expect(Object.keys(state)).toEqual(['held', 'pending']);
      for (const info of [...state.held, ...state.pending]) expect(Object.keys(info)).toEqual(['clientId', 'mode', 'name']);
      held.release();
      await Promise.all([held.request, waiting]);
    });

    test('query() includes the earlier requests of its own client in their current state', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const controller = new AbortController();
      const { promise: waits, resolve: goOn } = deferred();

      const requests = [
        locks.request('free', () => waits),
        locks.request('free', { mode: 'shared' }, () => waits),
        locks.request('free', () => waits),
        kindOf(locks.request('free', { signal: controller.signal }, () => waits)),
        locks.request('tried', { ifAvailable: true }, () => waits),
        locks.request('stolen', { steal: true }, () => waits),
      ];
      controller.abort();
      const state = await locks.query();
      goOn();
      await Promise.all(requests);

      const all = [...state.held, ...state.pending];
      expect(kinds(all).sort()).toEqual(['free exclusive', 'free exclusive', 'free shared', 'stolen exclusive', 'tried exclusive']);
      expect(state.held.filter(({ name }) => name === 'free').length).toBeLessThanOrEqual(1);
      expect(kinds(state.pending).filter((kind) => !kind.startsWith('free'))).toEqual([]);
      expect(new Set(all.map(({ clientId }) => clientId)).size).toBe(1);
    });

    test('requests of one client are pending in the order of their calls, those without an entry last', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());
      const held = await hold(locks, 'a');
      const modes = ['exclusive', 'exclusive', 'shared', 'exclusive', 'shared'] as const;
      const requests = modes.map((mode) => locks.request('a', { mode }, () => undefined));

      const state = await locks.query();

      expect(kinds(state.held)).toEqual(['a exclusive']);
      expect(state.pending.map(({ mode }) => mode)).toEqual(modes);
      held.release();
      await Promise.all(requests);
    });

    test('query() includes locks of the locker and foreign locks', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await using lock = await locker.lock('a');
      const foreign = `${fixture.prefix}b/694d8e8f`;
      await fixture.store.commit({ compare: [], then: [{ put: { key: foreign, value: '', leaseId: '0' } }], otherwise: [] });
      const { held } = await webLocks(locker).query();

      expect(held.map(({ name, mode }) => `${name} ${mode}`)).toEqual([`${lock.name} exclusive`, 'b exclusive']);
      await fixture.deleteKey(foreign);
    });
  });

  describe('§2.7 Agent integration: the locker is closed', () => {
    test('held and waiting requests reject with AbortError, and later calls with InvalidStateError', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const locks = webLocks(locker);
      const held = await hold(locks, 'a');
      const outcomes = [held.request, locks.request('a', () => undefined)].map(kindOf);

      await locker.close();

      expect(await Promise.all(outcomes)).toEqual(['DOMException AbortError', 'DOMException AbortError']);
      expect(held.lock?.signal.aborted).toBe(true);
      expect(await kindOf(locks.request('-', () => undefined))).toBe('DOMException InvalidStateError');
      expect(await kindOf(locks.query())).toBe('DOMException InvalidStateError');
      expect(await kindOf(locks.request('a', { mode: 'foo' as 'shared' }, () => undefined))).toBe('TypeError');
      held.release();
    });

    test('a lock whose entry is deleted is lost: the request rejects with AbortError and the signal aborts', async () => {
      await using fixture = await open();
      const held = await hold(webLocks(fixture.createLocker()), 'a');
      const outcome = kindOf(held.request);
      const [entry] = await fixture.entries('a');

      await fixture.deleteKey(entry?.key ?? '');
      // Long before the next heartbeat.
      await fixture.pass(1_000);

      expect(held.lock?.signal.aborted).toBe(true);
      expect(await outcome).toBe('DOMException AbortError');
      held.fail(new Error('late'));
    });
  });
}
