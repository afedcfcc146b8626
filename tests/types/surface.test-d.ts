/** The public types of the package: what compiles, what does not, and which types calls return. */
import {
  type AnyLockerError,
  type ChannelMessages,
  type ChannelName,
  type CloseOptions,
  type Contender,
  createLocker,
  type EtcdUnavailableError,
  type HostFailure,
  isLockerError,
  type LeadOptions,
  type Lock,
  type LockDetails,
  type Locker,
  type LockerError,
  type LockerErrorCode,
  type LockerOptions,
  type LockLostError,
  type LockOptions,
  type LockState,
  type LockStateIterator,
  type LockTimeoutError,
  type ListOptions,
  type LossReason,
  type Mode,
  type MultiLock,
  type OptionIssue,
  type InvalidOptionsError,
  type Store,
} from 'etcd-locker';
import { ManualClock, type MemoryStore, memoryStore } from 'etcd-locker/testing';
import { type HeldLock, type LockManager, type WebLockManager, webLocks } from 'etcd-locker/web-locks';
import { Etcd3 } from 'etcd3';
import { describe, expectTypeOf, test } from 'vitest';

declare const locker: Locker;
declare const lock: Lock;

describe('the public types', () => {
  test('createLocker() takes options or none', () => {
    expectTypeOf(createLocker).parameters.toEqualTypeOf<[options?: LockerOptions | undefined]>();
    expectTypeOf(createLocker).returns.toEqualTypeOf<Locker>();
    expectTypeOf<LockerOptions['hosts']>().toEqualTypeOf<string | readonly string[] | undefined>();
    expectTypeOf<LockerOptions['ttlMs']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<LockerOptions['store']>().toEqualTypeOf<Store | undefined>();
    expectTypeOf(memoryStore({ clock: new ManualClock() })).toEqualTypeOf<MemoryStore>();
    expectTypeOf<MemoryStore>().toExtend<Store>();
  });

  test('unknown options and wrong types do not compile', () => {
    const calls = () => {
      // @ts-expect-error an unknown option
      createLocker({ host: 'a:1' });
      // @ts-expect-error a duration is a number of milliseconds
      createLocker({ ttlMs: '15s' });
      // @ts-expect-error an unknown option
      void locker.lock('a', { timeout: 5 });
      // @ts-expect-error an unknown mode
      void locker.lock('a', { mode: 'read' });
      // @ts-expect-error a name is a string
      void locker.lock(42);
      // @ts-expect-error an unknown option
      locker.watch('a', { timeoutMs: 1 });
      // @ts-expect-error a watch of one name has no prefix
      locker.watch('a', { startsWith: 'a' });
      // @ts-expect-error a campaign has no time limit
      void locker.lead('a', { timeoutMs: 1 }, () => 1);
      // @ts-expect-error a leader holds alone
      void locker.lead('a', { mode: 'shared' }, () => 1);
      // @ts-expect-error lead() needs a function
      void locker.lead('a', { ttlMs: 5_000 });
      // @ts-expect-error an unknown option
      void locker.close({ timeoutMs: 1 });
      // @ts-expect-error withLock() needs a function
      void locker.withLock('a', { timeoutMs: 1 });
      // @ts-expect-error a property of a lock is read-only
      lock.value = 'x';
    };
    expectTypeOf(calls).toBeFunction();
  });

  test('every option accepts undefined', () => {
    expectTypeOf<{ value: undefined; ttlMs: undefined; timeoutMs: undefined; signal: undefined }>().toExtend<LockOptions>();
    expectTypeOf<{ hosts: undefined; auth: undefined; logger: undefined; prefix: undefined }>().toExtend<LockerOptions>();
    expectTypeOf<{
      auth: () => Promise<{ username: string; password: string }>;
      credentials: () => { passphrase: string };
    }>().toExtend<LockerOptions>();
    expectTypeOf<{ auth: () => { username: string } }>().not.toExtend<LockerOptions>();
    expectTypeOf<LockOptions['signal']>().toEqualTypeOf<AbortSignal | undefined>();
    expectTypeOf<LockerOptions['logger']>().toEqualTypeOf<Pick<Console, 'debug' | 'info' | 'warn' | 'error'> | undefined>();
  });

  test('lock() resolves with a Lock, tryLock() with a Lock or null', () => {
    expectTypeOf<Locker['lock']>().returns.resolves.toEqualTypeOf<Lock>();
    expectTypeOf<Locker['tryLock']>().returns.resolves.toEqualTypeOf<Lock | null>();
    expectTypeOf<Locker['inspect']>().returns.resolves.toEqualTypeOf<LockDetails>();
    expectTypeOf(locker.watch('a', { failFast: true })).toEqualTypeOf<LockStateIterator>();
    expectTypeOf(locker.watch()).toEqualTypeOf<LockStateIterator>();
    expectTypeOf(locker.watch({ startsWith: 'a', failFast: false })).toEqualTypeOf<LockStateIterator>();
    expectTypeOf<LockState['current']>().toBeBoolean();
    expectTypeOf<LockStateIterator>().toExtend<AsyncIterable<LockState> & AsyncDisposable>();
    expectTypeOf<Locker['close']>().returns.resolves.toBeVoid();
    expectTypeOf<Locker['close']>().parameters.toEqualTypeOf<[options?: CloseOptions | undefined]>();
    expectTypeOf<CloseOptions>().toEqualTypeOf<{ readonly drainMs?: number | undefined }>();
    expectTypeOf<Locker>().toExtend<AsyncDisposable>();
  });

  test('lead() resolves with the result of its function', () => {
    expectTypeOf(locker.lead('a', () => 1)).resolves.toEqualTypeOf<number>();
    expectTypeOf(locker.lead('a', { maxHoldMs: 5 }, async ({ signal }) => Promise.resolve(signal))).resolves.toEqualTypeOf<AbortSignal>();
    expectTypeOf<keyof LeadOptions>().toEqualTypeOf<'value' | 'ttlMs' | 'signal' | 'maxHoldMs'>();
  });

  test('mode, slots, maxHoldMs and renew accept their types alone', () => {
    expectTypeOf<Mode>().toEqualTypeOf<'exclusive' | 'shared'>();
    expectTypeOf<LockOptions['mode']>().toEqualTypeOf<Mode | undefined>();
    expectTypeOf<LockOptions['slots']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<LockOptions['maxHoldMs']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<LockOptions['minHoldMs']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<LockOptions['keepMs']>().toEqualTypeOf<number | undefined>();
    expectTypeOf<LockOptions['renew']>().toEqualTypeOf<boolean | undefined>();
    expectTypeOf<{ mode: undefined; slots: undefined; maxHoldMs: undefined; renew: undefined }>().toExtend<LockOptions>();
    expectTypeOf<Lock['mode']>().toEqualTypeOf<'exclusive' | 'shared'>();
    expectTypeOf<Lock['slots']>().toBeNumber();
    expectTypeOf<Lock['wanted']>().toEqualTypeOf<AbortSignal>();
    const calls = () => {
      void locker.lock('a', { mode: 'shared', slots: undefined });
      void locker.lock('a', { mode: undefined, slots: 3, timeoutMs: Infinity });
      // @ts-expect-error a semaphore has no mode
      void locker.lock('a', { mode: 'shared', slots: 3 });
      // @ts-expect-error a semaphore has no mode
      void locker.withLock('a', { mode: 'exclusive', slots: 3 }, () => 1);
      void locker.tryLock('a', { minHoldMs: 30_000, mode: 'exclusive', renew: true, maxHoldMs: 60_000 });
      // @ts-expect-error a shared lock has no minimum hold
      void locker.tryLock('a', { minHoldMs: 30_000, mode: 'shared' });
      // @ts-expect-error a semaphore has no minimum hold
      void locker.tryLock('a', { minHoldMs: 30_000, slots: 2 });
      // @ts-expect-error a lock without renewal has no minimum hold
      void locker.tryLock('a', { minHoldMs: 30_000, renew: false });
      void locker.withLock('a', { keepMs: 30_000, mode: 'exclusive', maxHoldMs: 60_000 }, () => 1);
      void locker.lock('a', { keepMs: 0, slots: 3 });
      // @ts-expect-error a shared lock is not kept
      void locker.lock('a', { keepMs: 30_000, mode: 'shared' });
      // @ts-expect-error a semaphore is not kept
      void locker.lock('a', { keepMs: 30_000, slots: 2 });
      // @ts-expect-error a lock without renewal is not kept
      void locker.lock('a', { keepMs: 30_000, renew: false });
      // @ts-expect-error a lock with a minimum hold is not kept
      void locker.lock('a', { keepMs: 30_000, minHoldMs: 30_000 });
      // @ts-expect-error slots are a number
      void locker.lock('a', { slots: '3' });
      // @ts-expect-error renew is true or false
      void locker.lock('a', { renew: 'never' });
      // @ts-expect-error a duration is a number of milliseconds
      void locker.tryLock('a', { maxHoldMs: '1m' });
      // @ts-expect-error a property of a lock is read-only
      lock.slots = 2;
    };
    expectTypeOf(calls).toBeFunction();
  });

  test('lockAll() takes any iterable of names and resolves with a MultiLock, tryLockAll() with a MultiLock or null', () => {
    expectTypeOf<Locker['lockAll']>().parameters.toEqualTypeOf<[names: Iterable<string>, options?: LockOptions | undefined]>();
    expectTypeOf<Locker['tryLockAll']>().parameters.toEqualTypeOf<[names: Iterable<string>, options?: LockOptions | undefined]>();
    expectTypeOf<Locker['lockAll']>().returns.resolves.toEqualTypeOf<MultiLock>();
    expectTypeOf<Locker['tryLockAll']>().returns.resolves.toEqualTypeOf<MultiLock | null>();
    expectTypeOf<MultiLock>().toExtend<AsyncDisposable>();
    expectTypeOf<MultiLock['locks']>().toEqualTypeOf<readonly Lock[]>();
    expectTypeOf<MultiLock['signal']>().toEqualTypeOf<AbortSignal>();
    expectTypeOf<MultiLock['held']>().toBeBoolean();
    expectTypeOf<MultiLock['remainingMs']>().toBeNumber();
    expectTypeOf<MultiLock['release']>().toEqualTypeOf<() => Promise<void>>();
    const calls = () => {
      // @ts-expect-error names are required
      void locker.lockAll();
      // @ts-expect-error a name is a string
      void locker.lockAll([42]);
      // @ts-expect-error an unknown option
      void locker.tryLockAll(['a'], { wait: 5 });
    };
    expectTypeOf(calls).toBeFunction();
  });

  test('list() returns states, and its only option is startsWith', () => {
    expectTypeOf<Locker['list']>().parameters.toEqualTypeOf<[options?: ListOptions | undefined]>();
    expectTypeOf<ListOptions['startsWith']>().toEqualTypeOf<string | undefined>();
    expectTypeOf(locker.list()).toExtend<AsyncIterable<LockState>>();
    const calls = () => {
      // @ts-expect-error an unknown option
      locker.list({ prefix: 'orders/' });
    };
    expectTypeOf(calls).toBeFunction();
  });

  test('withLock() resolves with the result of its callback, with and without options', () => {
    expectTypeOf(locker.withLock('a', () => 42)).resolves.toEqualTypeOf<number>();
    expectTypeOf(locker.withLock('a', (held) => Promise.resolve(held.fencingToken))).resolves.toEqualTypeOf<bigint>();
    expectTypeOf(locker.withLock('a', { timeoutMs: 5 }, () => 'x')).resolves.toEqualTypeOf<string>();
  });

  test('Lock has every documented member', () => {
    expectTypeOf<Lock>().toExtend<AsyncDisposable>();
    expectTypeOf(lock.name).toBeString();
    expectTypeOf(lock.mode).toEqualTypeOf<'exclusive' | 'shared'>();
    expectTypeOf(lock.key).toBeString();
    expectTypeOf(lock.value).toBeString();
    expectTypeOf(lock.fencingToken).toBeBigInt();
    expectTypeOf(lock.leaseId).toBeString();
    expectTypeOf(lock.signal).toEqualTypeOf<AbortSignal>();
    expectTypeOf(lock.held).toBeBoolean();
    expectTypeOf(lock.remainingMs).toBeNumber();
    expectTypeOf<Lock['throwIfLost']>().toEqualTypeOf<() => void>();
    expectTypeOf<Lock['setValue']>().toEqualTypeOf<(value: string) => Promise<void>>();
    expectTypeOf<Lock['release']>().toEqualTypeOf<() => Promise<void>>();
    expectTypeOf(lock.guard).toEqualTypeOf<[key: string, target: 'Create', op: '==', revision: string]>();
  });

  test('guard fits into a transaction of etcd3', () => {
    const transaction = () => new Etcd3().if(...lock.guard);
    expectTypeOf(transaction).toBeFunction();
  });

  test('webLocks() returns a LockManager whose locks also have signal, fencingToken and guard', () => {
    expectTypeOf(webLocks).parameters.toEqualTypeOf<[locker: Locker]>();
    expectTypeOf(webLocks).returns.toEqualTypeOf<WebLockManager>();
    expectTypeOf<WebLockManager>().toExtend<LockManager>();
    expectTypeOf<HeldLock>().toEqualTypeOf<Readonly<Pick<Lock, 'name' | 'mode' | 'signal' | 'fencingToken' | 'guard'>>>();
  });

  test('states have the holders and the waiters', () => {
    expectTypeOf<LockDetails>().toExtend<LockState>();
    expectTypeOf<LockState['holders']>().toEqualTypeOf<readonly Contender[]>();
    expectTypeOf<LockDetails['waiters']>().toEqualTypeOf<readonly Contender[]>();
    expectTypeOf<LockState['waiting']>().toBeNumber();
    expectTypeOf<LockState['revision']>().toBeBigInt();
    expectTypeOf<Contender>().toEqualTypeOf<{
      readonly key: string;
      readonly mode: 'exclusive' | 'shared';
      readonly slots: number;
      readonly value: string;
      readonly fencingToken: bigint;
      readonly leaseId: string;
      readonly leaseRemainingMs: number | null;
      readonly foreign: boolean;
    }>();
    expectTypeOf<LockDetails['localWaiting']>().toBeNumber();
    expectTypeOf<Locker['breakLock']>().toBeCallableWith('a', { fencingToken: 7n });
    expectTypeOf<Locker['breakLock']>().returns.resolves.toEqualTypeOf<Contender[]>();
  });

  test('the name of a channel gives the type of its messages, and no message has a value', () => {
    expectTypeOf<ChannelName>().toExtend<`etcd-locker:${string}` | `tracing:etcd-locker:acquire:${string}`>();
    expectTypeOf<ChannelMessages['etcd-locker:lost']['reason']>().toEqualTypeOf<LossReason>();
    expectTypeOf<ChannelMessages['etcd-locker:held']['fencingToken']>().toEqualTypeOf<bigint>();
    expectTypeOf<ChannelMessages['etcd-locker:held']>().not.toHaveProperty('value');
    expectTypeOf<ChannelMessages['tracing:etcd-locker:acquire:asyncEnd']>().not.toHaveProperty('value');
  });

  test('errors have their own codes', () => {
    const error: unknown = undefined;
    if (isLockerError(error)) {
      expectTypeOf(error).toEqualTypeOf<AnyLockerError>();
      expectTypeOf(error).toExtend<LockerError>();
      expectTypeOf(error.code).toEqualTypeOf<LockerErrorCode>();
      if (error.code === 'LOCK_TIMEOUT') expectTypeOf(error).toEqualTypeOf<LockTimeoutError>();
      if (error.code === 'LOCK_LOST') expectTypeOf(error.fencingToken).toBeBigInt();
      if (error.code === 'ETCD_UNAVAILABLE') expectTypeOf(error.hosts).toEqualTypeOf<readonly HostFailure[]>();
    }
    expectTypeOf<LockLostError['code']>().toEqualTypeOf<'LOCK_LOST'>();
    expectTypeOf<LockLostError['reason']>().toEqualTypeOf<LossReason>();
    expectTypeOf<LossReason>().toEqualTypeOf<'expired' | 'deleted' | 'max-hold' | 'closed'>();
    expectTypeOf<LockTimeoutError['holder']>().toEqualTypeOf<string | undefined>();
    expectTypeOf<EtcdUnavailableError['hosts']>().toEqualTypeOf<readonly HostFailure[]>();
    expectTypeOf<InvalidOptionsError['issues']>().toEqualTypeOf<readonly OptionIssue[]>();
  });
});
