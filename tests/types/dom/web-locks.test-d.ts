/** Our types and those of the DOM library: what is written for either runs on the other. Only here is that library known. */
import type * as ours from 'etcd-locker/web-locks';
import { describe, expectTypeOf, test } from 'vitest';

/** What `webLocks(locker)` answers. */
declare const locks: ours.WebLockManager;

describe("ours are the DOM's", () => {
  test('what webLocks() answers may stand wherever navigator.locks may', () => {
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

describe("the DOM's are ours", () => {
  test('navigator.locks may stand wherever our LockManager may', () => {
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
    // A callback that knows of nothing but the DOM's Lock is one for ours too.
    expectTypeOf<LockGrantedCallback<string>>().toExtend<ours.LockGrantedCallback<string, ours.HeldLock>>();
  });

  test('but it has neither signal nor token, nor does its query() answer with all members', () => {
    expectTypeOf<Lock>().not.toExtend<ours.HeldLock>();
    expectTypeOf<LockManager>().not.toExtend<ours.WebLockManager>();
    expectTypeOf<LockManagerSnapshot>().not.toExtend<ours.LockSnapshot>();
  });
});

test('code written for either compiles on both, with the same result', () => {
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
