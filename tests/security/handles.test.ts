/** Tests that a handle affects only its own entry, even after its loss, and that it cannot be altered. */
import { Etcd3 } from 'etcd3';
import type { Lock, Locker, MultiLock } from 'etcd-locker';
import { describe, expect, inject, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../support/fixtures/holding.ts';
import { type LockerFixture, openEtcd, openMemory } from '../support/fixtures/lockers.ts';

/** Returns a lost handle of one locker, and the lock of another locker that now holds the name. */
async function lostAndHeld(fixture: LockerFixture): Promise<{ lost: Lock; held: Lock; observer: Locker }> {
  const [first, second] = [fixture.createLocker({ value: 'first', ttlMs: 2_000 }), fixture.createLocker({ value: 'second' })];
  const lost = await first.lock('x');
  await fixture.deleteKey(lost.key);
  const held = await second.lock('x');
  await fixture.until(() => {
    expect(lost.held).toBe(false);
  });
  return { lost, held, observer: fixture.createLocker() };
}

async function isGuarded(fixture: LockerFixture, { guard: [key, , , revision] }: Lock): Promise<boolean> {
  const compare = [{ key, target: 'create', op: '=', revision: BigInt(revision) }] as const;
  return (await fixture.store.commit({ compare, then: [], otherwise: [] })).succeeded;
}

describe.each([
  ['memory', openMemory],
  ['etcd', () => openEtcd(inject('etcdEndpoints'))],
] as const)('a handle on %s', (_, open) => {
  test('that was lost does not affect the lock of the next holder', async () => {
    await using fixture = await open();
    const { lost, held, observer } = await lostAndHeld(fixture);

    expect([lost.held, lost.remainingMs, lost.signal.aborted]).toEqual([false, 0, true]);
    expect(await errorOf(lost.setValue('mine'))).toMatchObject({ code: 'LOCK_LOST', lockName: 'x', fencingToken: lost.fencingToken });
    await lost.release();
    await lost[Symbol.asyncDispose]();

    await expectHolder(observer, held);
    expect(held.value).toBe('second');
    expect(held.fencingToken).toBeGreaterThan(lost.fencingToken);
    expect([await isGuarded(fixture, lost), await isGuarded(fixture, held)]).toEqual([false, true]);
  });

  test('that was released does nothing when its locker holds the name again', async () => {
    await using fixture = await open();
    const locker = fixture.createLocker({ value: 'me' });
    const before = await locker.lock('x');
    await before.release();
    const after = await locker.lock('x');

    expect([before.held, before.remainingMs]).toEqual([false, 0]);
    expect(() => {
      before.throwIfLost();
    }).toThrow(expect.objectContaining({ code: 'LOCK_RELEASED' }) as Error);
    expect(await errorOf(before.setValue('mine'))).toMatchObject({ code: 'LOCK_RELEASED' });
    await before.release();
    await before[Symbol.asyncDispose]();

    // Both may have the same key. Their tokens differ.
    expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
    expect([await isGuarded(fixture, before), await isGuarded(fixture, after)]).toEqual([false, true]);
    await expectHolder(fixture.createLocker(), after);
  });

  test('may be disposed twice, also at the same time, and so may one of lockAll()', async () => {
    await using fixture = await open();
    const [locker, next] = [fixture.createLocker(), fixture.createLocker()];
    const lock = await locker.lock('x');
    const locks = await locker.lockAll(['y', 'z']);

    await Promise.all([lock, lock, locks, locks].map((one) => one[Symbol.asyncDispose]()));
    for (const name of ['x', 'y', 'z']) await expectFree(next, name);
    const taken = await next.lockAll(['x', 'y', 'z']);
    await Promise.all([lock, locks].map((one) => one[Symbol.asyncDispose]()));

    for (const one of taken.locks) await expectHolder(locker, one);
  });

  test('of lockAll() does not affect the locks of the next holder after it was lost', async () => {
    await using fixture = await open();
    const [first, second] = [fixture.createLocker({ ttlMs: 2_000 }), fixture.createLocker()];
    const locks = await first.lockAll(['x', 'y']);
    const taking = follow(second.lockAll(['x', 'y']));
    await fixture.deleteKey(locks.locks[0]?.key ?? '');
    await fixture.until(() => {
      expect(taking.isSettled).toBe(true);
    });
    const taken = await taking.promise;

    expect(locks.held).toBe(false);
    await locks.release();
    await Promise.all(locks.locks.map((lock) => lock.release()));

    expect(() => {
      locks.throwIfLost();
    }).toThrow(expect.objectContaining({ code: 'LOCK_LOST' }) as Error);
    for (const one of taken.locks) await expectHolder(first, one);
  });
});

test('the guard of the holder admits a write of an etcd3 client, and the guard of a lost handle does not', async () => {
  const endpoints = inject('etcdEndpoints');
  await using fixture = await openEtcd(endpoints);
  const { lost, held } = await lostAndHeld(fixture);
  const client = new Etcd3({ hosts: [...endpoints] });
  const key = `${fixture.prefix}ledger`;
  const write = async (lock: Lock): Promise<boolean> =>
    (
      await client
        .if(...lock.guard)
        .then(client.put(key).value(lock.value))
        .commit()
    ).succeeded;

  try {
    expect(await write(lost)).toBe(false);
    expect(await client.get(key)).toBeNull();
    expect(await write(held)).toBe(true);
    expect(await client.get(key)).toBe('second');
  } finally {
    await client.delete().key(key);
    client.close();
  }
});

describe('a handle as an object', () => {
  type Part = readonly [name: string, call: (self: object) => unknown];
  /** Returns each method and getter of a handle, as a function that calls it on another object. */
  const partsOf = (handle: object): Part[] => {
    const prototype = Object.getPrototypeOf(handle) as object;
    const names = Reflect.ownKeys(prototype).filter((name) => name !== 'constructor');
    return names.map((name) => {
      const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
      const method = (descriptor !== undefined && 'value' in descriptor ? descriptor.value : Reflect.get(descriptor ?? {}, 'get')) as (
        this: object,
        ...args: unknown[]
      ) => unknown;
      return [String(name), (self) => method.call(self, 'deleted')];
    });
  };

  async function withHandles(use: (lock: Lock, locks: MultiLock) => Promise<void>): Promise<void> {
    await using fixture = await openMemory();
    const locker = fixture.createLocker();
    await use(await locker.lock('x'), await locker.lockAll(['y', 'z']));
  }

  test('has no method or getter that works on another object', () =>
    withHandles(async (lock, locks) => {
      for (const handle of [lock, locks]) {
        const others = [{}, { held: true, slots: 1, key: lock.key, fencingToken: 1n, name: 'x' }, Object.create(handle) as object];
        expect(partsOf(handle).length).toBeGreaterThan(5);
        for (const [name, call] of partsOf(handle)) {
          for (const other of others) {
            // An async method rejects. A getter throws.
            const error = await errorOf(Promise.resolve().then(() => call(other)));
            expect(error, name).toBeInstanceOf(TypeError);
          }
        }
      }
      expect([lock.held, locks.held]).toEqual([true, true]);
    }));

  test('is read-only, so that token, name and state cannot be forged', () =>
    withHandles(async (lock, locks) => {
      for (const handle of [lock, locks]) {
        const names = ['name', 'key', 'value', 'fencingToken', 'leaseId', 'held', 'guard', 'signal', 'mode', 'slots', 'locks', 'release'];
        for (const name of names) {
          const before: unknown = Reflect.get(handle, name);
          expect(() => {
            Object.assign(handle, { [name]: true });
          }, name).toThrow(TypeError);
          expect(() => Object.defineProperty(handle, name, { value: true }), name).toThrow(TypeError);
          expect(Reflect.get(handle, name), name).toEqual(before);
        }
      }
      expect(() => (locks.locks as Lock[]).pop()).toThrow(TypeError);
      await Promise.resolve();
    }));

  test('returns a new guard at each read', () =>
    withHandles(async (lock) => {
      lock.guard[3] = '1';

      expect(lock.guard).toEqual([lock.key, 'Create', '==', String(lock.fencingToken)]);
      await Promise.resolve();
    }));
});
