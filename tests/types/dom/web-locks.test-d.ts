/** Our types and those of the DOM library fit each other both ways. Only this folder compiles with the DOM library. */
import type * as ours from 'etcd-locker/web-locks';
import { describe, expectTypeOf, test } from 'vitest';

/** The result of `webLocks(locker)`. */
declare const locks: ours.WebLockManager;

describe("our types fit the DOM's", () => {
  test('the result of webLocks() can replace navigator.locks', () => {
    expectTypeOf<ours.LockManager>().toExtend<LockManager>();
    expectTypeOf<ours.WebLockManager>().toExtend<LockManager>();
    const either: LockManager[] = [locks, navigator.locks];
    expectTypeOf(either).toEqualTypeOf<LockManager[]>();
  });

  test('each of the types', () => {
    expectTypeOf<ours.Lock>().toExtend<Lock>();
    expectTypeOf<ours.HeldLock>().toExtend<Lock>();
    expectTypeOf<ours.LockInfo>().toExtend<LockInfo>();
    expectTypeOf<ours.LockManagerSnapshot>().toExtend<LockManagerSnapshot>();
    expectTypeOf<ours.LockSnapshot>().toExtend<LockManagerSnapshot>();
    expectTypeOf<ours.LockOptions>().toExtend<LockOptions>();
    expectTypeOf<ours.LockMode>().toEqualTypeOf<LockMode>();
    expectTypeOf<ours.LockGrantedCallback<string>>().toExtend<LockGrantedCallback<string>>();
    expectTypeOf<keyof ours.LockOptions>().toEqualTypeOf<keyof LockOptions>();
    expectTypeOf<keyof ours.LockManager>().toEqualTypeOf<keyof LockManager>();
  });
});

describe("the DOM's types fit ours", () => {
  test('navigator.locks can replace our LockManager', () => {
    expectTypeOf<LockManager>().toExtend<ours.LockManager>();
    const either: ours.LockManager = navigator.locks;
    expectTypeOf(either.query()).resolves.toEqualTypeOf<ours.LockManagerSnapshot>();
  });

  test('each of the types', () => {
    expectTypeOf<Lock>().toExtend<ours.Lock>();
    expectTypeOf<LockInfo>().toExtend<ours.LockInfo>();
    expectTypeOf<LockManagerSnapshot>().toExtend<ours.LockManagerSnapshot>();
    expectTypeOf<LockOptions>().toExtend<ours.LockOptions>();
    expectTypeOf<LockGrantedCallback<string>>().toExtend<ours.LockGrantedCallback<string>>();
    // A callback for the DOM's Lock also accepts ours.
    expectTypeOf<LockGrantedCallback<string>>().toExtend<ours.LockGrantedCallback<string, ours.HeldLock>>();
  });

  test('but its Lock has no signal and no token, and its snapshot may lack members', () => {
    expectTypeOf<Lock>().not.toExtend<ours.HeldLock>();
    expectTypeOf<LockManager>().not.toExtend<ours.WebLockManager>();
    expectTypeOf<LockManagerSnapshot>().not.toExtend<ours.LockSnapshot>();
  });
});

test('code for either manager compiles with both, and has the same result type', () => {
  const domCode = (either: LockManager) =>
    either.request('a', { mode: 'shared', signal: AbortSignal.timeout(5) }, (lock) =>
      Promise.resolve(`${lock?.name ?? ''} ${lock?.mode ?? ''}`),
    );
  const ourCode = (either: ours.LockManager) =>
    either.request('a', { ifAvailable: true, steal: false }, (lock) => Promise.resolve(lock === null ? 0 : lock.name.length));

  expectTypeOf(domCode).parameter(0).toExtend<ours.LockManager>();
  const calls = () => [domCode(locks), domCode(navigator.locks), ourCode(locks), ourCode(navigator.locks)];
  expectTypeOf(calls).returns.items.toEqualTypeOf<Promise<string> | Promise<number>>();
  const ofOurs = () => locks.request('a', (lock) => lock?.fencingToken);
  expectTypeOf(ofOurs).returns.resolves.toEqualTypeOf<bigint | undefined>();
});
