/** Tests of `breakLock()` with lost responses, refusals and holders that change meanwhile, and of the times of leases. */
import { EtcdAuthError, EtcdUnavailableError, type Lock, LockerClosedError, type Store } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import {
  type Call,
  calls,
  hangs,
  lostRequest,
  lostResponse,
  openFaultyMemory,
  refused,
  runsOutOfSpace,
  spaceRefusal,
  unreachable,
} from '../support/fixtures/faults.ts';
import { OutcomeUnknownError } from '../../src/errors.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const denied = new EtcdAuthError('locks/', 'etcdserver: permission denied');
const touchesGate = (call: Call): boolean => call.method === 'commit' && call.transaction.then.some((one) => 'touch' in one);

describe('breakLock()', () => {
  test.each([
    ['the request', lostRequest],
    ['the response', lostResponse],
  ])('removes the holder, reports it and spares the next one when %s is lost', async (_, fault) => {
    await using memory = await openFaultyMemory();
    const [one, other, operator] = [memory.createLocker(), memory.createLocker(), memory.createLocker()];
    const lock = await one.lock('a');
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    memory.store.next(calls.removal, fault);

    const removed = follow(operator.breakLock('a'));
    await memory.clock.advance(1_000);

    expect(removed.value).toMatchObject([{ key: lock.key, fencingToken: lock.fencingToken }]);
    expect([lock.held, waiting.value?.held]).toEqual([false, true]);
    expect(memory.entries('a')).toMatchObject([{ key: waiting.value?.key }]);
  });

  test('does not report a holder that released its lock in the meantime, and spares the next one', async () => {
    await using memory = await openFaultyMemory();
    const [locker, operator] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    const next = follow(locker.lock('a'));
    memory.store.next(calls.removal, async (send) => {
      await lock.release();
      await next.promise;
      return send();
    });

    expect(await operator.breakLock('a')).toEqual([]);

    expect(next.value?.held).toBe(true);
  });

  test('spares a later holder that uses the key of the chosen one', async () => {
    await using memory = await openFaultyMemory();
    const [locker, operator] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    const later: Lock[] = [];
    memory.store.next(calls.removal, async (send) => {
      await lock.release();
      later.push(await locker.lock('a'));
      return send();
    });

    expect(await operator.breakLock('a')).toEqual([]);
    await memory.clock.settle();

    expect(later).toMatchObject([{ key: lock.key, held: true }]);
    expect(memory.entries('a')).toMatchObject([{ key: lock.key, createRevision: later[0]?.fencingToken }]);
  });

  test.each([
    ['the role may not put the gate', denied],
    ['etcd has no space for a put', new OutcomeUnknownError([], { cause: spaceRefusal })],
  ])('deletes the entry alone when %s, and the holder notices with its next beat', async (_, refusal) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.every(touchesGate, refused(refusal));

    expect(await memory.createLocker().breakLock('a')).toMatchObject([{ key: lock.key }]);

    expect(lock.held).toBe(true);
    await memory.clock.advance(5_500);
    expect(lock.held).toBe(false);
  });

  test('reports the holder when the space of etcd runs out in the request', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    memory.store.next(touchesGate, runsOutOfSpace);

    expect(await memory.createLocker().breakLock('a')).toMatchObject([{ key: lock.key }]);
    expect(memory.entries('a')).toEqual([]);
  });

  test('rejects with EtcdAuthError when the role may not delete', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const stop = memory.store.every(calls.removal, refused(denied));

    expect(await errorOf(memory.createLocker().breakLock('a'))).toBe(denied);

    stop();
    expect(lock.held).toBe(true);
  });

  test('rejects with EtcdUnavailableError after requestTimeoutMs when etcd does not respond', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    memory.store.every(calls.removal, unreachable(memory.clock));
    const breaking = follow(memory.createLocker({ requestTimeoutMs: 2_000 }).breakLock('a'));

    await memory.clock.advance(1_900);
    expect(breaking.isSettled).toBe(false);
    await memory.clock.advance(200);

    expect(breaking.error).toBeInstanceOf(EtcdUnavailableError);
  });

  test('rejects with LockerClosedError when its locker closes, and keeps the process alive until then', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    memory.store.next(calls.removal, hangs);
    const operator = memory.createLocker();
    const breaking = follow(operator.breakLock('a'));
    await memory.clock.settle();
    expect([breaking.isSettled, memory.clock.isHeld]).toEqual([false, true]);

    await operator.close();

    await memory.clock.settle();
    expect(breaking.error).toBeInstanceOf(LockerClosedError);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('is noticed at once by ten locks of one session that are broken one after another', async () => {
    await using memory = await openFaultyMemory();
    const [locker, operator] = [memory.createLocker(), memory.createLocker()];
    const names = Array.from({ length: 10 }, (_, index) => `name-${String(index)}`);
    const locks = await Promise.all(names.map((name) => locker.lock(name)));

    const delays: number[] = [];
    for (const [index, name] of names.entries()) {
      await operator.breakLock(name);
      let ms = 0;
      for (; locks[index]?.held === true; ms += 5) await memory.clock.advance(5);
      delays.push(ms);
      // An operator who types is slower.
      await memory.clock.advance(100);
    }

    // A beat is due after 5 s.
    expect(Math.max(...delays.slice(0, 5))).toBeLessThanOrEqual(100);
    expect(Math.max(...delays)).toBeLessThanOrEqual(750);
  });

  test('gives no notice to a lock with renew: false', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { renew: false });

    expect(await memory.createLocker().breakLock('a')).toMatchObject([{ key: lock.key }]);

    await memory.clock.settle();
    expect(lock.held).toBe(true);
    expect(await errorOf(lock.setValue('late'))).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
  });
});

describe('the times of leases', () => {
  test('are null for a lease that the role may not read', async () => {
    await using memory = await openFaultyMemory();
    const [one, other] = [await memory.createLocker().lock('a'), await memory.createLocker().lock('b')];
    memory.store.every((call) => calls.leaseTime(call) && 'leaseId' in call && call.leaseId === one.leaseId, refused(denied));

    const times = new Map<string, number | null | undefined>();
    for await (const { name, holders } of memory.createLocker().list()) times.set(name, holders[0]?.leaseRemainingMs);

    expect([...times]).toEqual([
      ['a', null],
      ['b', 15_000],
    ]);
    expect(other.held).toBe(true);
  });

  test('are null if the store cannot tell', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    const { store } = memory;
    const custom: Store = {
      clock: store.clock,
      grant: (...args) => store.grant(...args),
      renew: (...args) => store.renew(...args),
      leaseKeys: (...args) => store.leaseKeys(...args),
      revoke: (...args) => store.revoke(...args),
      commit: (...args) => store.commit(...args),
      watch: (...args) => store.watch(...args),
      close: () => store.close(),
    };

    expect((await memory.createLocker({ store: custom }).inspect('a')).holders).toMatchObject([{ key: lock.key, leaseRemainingMs: null }]);
  });

  test('reject with EtcdUnavailableError while etcd does not respond', async () => {
    await using memory = await openFaultyMemory();
    await memory.createLocker().lock('a');
    memory.store.next(calls.leaseTime, lostRequest);

    expect(await errorOf(memory.createLocker().inspect('a'))).toBeInstanceOf(EtcdUnavailableError);
  });

  test('take one request for each lease, at most 16 at once, and none for query() of web-locks', async () => {
    await using memory = await openFaultyMemory();
    const lockers = Array.from({ length: 40 }, () => memory.createLocker());
    for (const locker of lockers) await locker.lockAll(['a', 'b'].map((name) => `${name}${String(lockers.indexOf(locker))}`));
    let [underWay, most] = [0, 0];
    memory.store.every(calls.leaseTime, async (send) => {
      most = Math.max(most, (underWay += 1));
      await new Promise<void>((resolve) => memory.clock.setTimer(1, resolve));
      underWay -= 1;
      return send();
    });
    const [observer] = [memory.createLocker()];

    await webLocks(observer).query();
    expect(memory.store.count(calls.leaseTime)).toBe(0);
    const names: string[] = [];
    const listed = (async () => {
      for await (const { name } of observer.list()) names.push(name);
    })();
    await memory.clock.advance(10);
    await listed;

    expect(names).toHaveLength(80);
    expect([memory.store.count(calls.leaseTime), most]).toEqual([40, 16]);
  });
});
