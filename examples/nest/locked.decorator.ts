/** The decorator `@Locked(name)`: the method runs while the application holds the lock. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Inject } from '@nestjs/common';
import type { Lock, Locker, LockOptions } from 'etcd-locker';
import 'reflect-metadata';
import { LOCKER } from './locker.token.js';

const locks = new AsyncLocalStorage<Lock>();
const injected = Symbol('locker');

/**
 * Returns the lock of the `@Locked()` method that runs, for its `signal` and its `fencingToken`.
 *
 * @throws {Error} no `@Locked()` method runs
 */
export function currentLock(): Lock {
  const lock = locks.getStore();
  if (lock === undefined) throw new Error('Cannot return the current lock: no @Locked() method runs');
  return lock;
}

type Descriptor<Args extends unknown[], Result> = TypedPropertyDescriptor<(...args: Args) => Promise<Result>>;

/**
 * Waits for a lock, runs the method, and releases the lock.
 *
 * @param name the name of the lock, or a function that returns it for the arguments of the call
 * @param options as for `withLock()`, such as `{ timeoutMs: 2_000 }`
 * @example
 * @Locked((id) => `orders/${id}`, { timeoutMs: 2_000 })
 * async pay(id: string): Promise<void> { … }
 */
export function Locked<Named extends unknown[]>(name: string | ((...args: Named) => string), options: LockOptions = {}) {
  return <Args extends [...Named, ...unknown[]], Result>(
    target: object,
    _key: string | symbol,
    descriptor: Descriptor<Args, Result>,
  ): Descriptor<Args, Result> => {
    const method = descriptor.value;
    if (method === undefined) throw new Error('Cannot decorate with @Locked(): it is for methods only');
    Inject(LOCKER)(target, injected); // Nest sets this property of each instance

    const locked = function (this: Record<typeof injected, Locker>, ...args: Args): Promise<Result> {
      const lockName = typeof name === 'string' ? name : name(...(args as unknown as Named));
      return this[injected].withLock(lockName, options, (lock) => locks.run(lock, () => method.apply(this, args)));
    };
    // Other decorators, such as @Get() and @Cron(), keep their metadata on the function.
    for (const key of Reflect.getMetadataKeys(method) as string[]) {
      Reflect.defineMetadata(key, Reflect.getMetadata(key, method), locked);
    }
    return { ...descriptor, value: locked };
  };
}
