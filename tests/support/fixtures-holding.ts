/** Who holds a lock, and what became of a promise. */
import type { Lock, Locker } from 'etcd-locker';
import { expect } from 'vitest';

/** Asserts that `lock`, and nobody else, holds its name, as `observer` sees it. */
export const expectHolder = (observer: Pick<Locker, 'inspect'>, lock: Lock): Promise<void> => expectHolders(observer, lock);

/** Asserts that `locks`, in their order, and nobody else, hold the name, as `observer` sees it. */
export async function expectHolders(observer: Pick<Locker, 'inspect'>, ...locks: readonly [Lock, ...Lock[]]): Promise<void> {
  const { holders } = await observer.inspect(locks[0].name);
  expect(holders).toEqual(
    locks.map(({ key, value, fencingToken, leaseId, mode, slots }) => ({ key, value, fencingToken, leaseId, mode, slots, foreign: false })),
  );
  for (const lock of locks) expect(lock.held).toBe(true);
}

export async function expectFree(observer: Pick<Locker, 'inspect'>, name: string): Promise<void> {
  expect(await observer.inspect(name)).toMatchObject({ name, held: false, holders: [], waiters: [], waiting: 0 });
}

/** What a promise has become so far, without waiting for it. */
export interface Fate<T> {
  readonly value: T | undefined;
  readonly error: unknown;
  readonly isSettled: boolean;
  readonly promise: Promise<T>;
}

export function follow<T>(promise: Promise<T>): Fate<T> {
  const fate: { -readonly [K in keyof Fate<T>]: Fate<T>[K] } = { value: undefined, error: undefined, isSettled: false, promise };
  promise.then(
    (value) => Object.assign(fate, { value, isSettled: true }),
    (error: unknown) => Object.assign(fate, { error, isSettled: true }),
  );
  return fate;
}

/** What `promise` is rejected with; undefined where it is not. */
export const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
