// Compiled against the packed types, once as an ES module and once as CommonJS.
import {
  type Contender,
  createLocker,
  isLockerError,
  type Lock,
  type Locker,
  type LockerErrorCode,
  type LockerOptions,
  type LockState,
  type Mode,
  type Store,
} from 'etcd-locker';
import { ManualClock, type MemoryStore, memoryStore, type MemoryStoreOptions, storeContract } from 'etcd-locker/testing';
import { type HeldLock, type LockManager, type LockManagerSnapshot, webLocks, type WebLockManager } from 'etcd-locker/web-locks';

const clock = new ManualClock();
const memory: MemoryStoreOptions = { clock };
const inMemory: MemoryStore = memoryStore(memory);
const store: Store = inMemory;
export const check = (test: (title: string, run: () => Promise<void>) => void): void => {
  storeContract({ test, open: () => ({ store, pass: (ms) => clock.advance(ms) }) });
};
const options: LockerOptions = { store, ttlMs: 15_000, prefix: 'locks/' };

export async function use(signal: AbortSignal): Promise<bigint> {
  const locker: Locker = createLocker(options);
  const lock: Lock = await locker.lock('orders/42', { timeoutMs: 1_000, signal });
  const maybe: Lock | null = await locker.tryLock('orders/42');
  const text: string = await locker.withLock('b', { value: 'me' }, () => Promise.resolve('done'));
  for await (const state of locker.watch('orders/42', { signal })) first(state);
  const [key, target, op, revision] = lock.guard;
  const guard: string = `${key} ${target} ${op} ${revision} ${text}`;
  await maybe?.setValue(guard);
  await lock[Symbol.asyncDispose]();
  await locker.close();
  return lock.fencingToken;
}

function first({ holders }: LockState): Contender | undefined {
  return holders[0];
}

export function code(error: unknown): LockerErrorCode | undefined {
  return isLockerError(error) ? error.code : undefined;
}

// Code for navigator.locks, in a project without the DOM library.
export async function useWebLocks(locks: LockManager, signal: AbortSignal): Promise<string> {
  const state: LockManagerSnapshot = await locks.query();
  const mode = await locks.request('orders/42', { mode: 'shared', signal }, (lock) => lock?.mode ?? 'none');
  return `${mode} ${String(state.held?.[0]?.clientId)}`;
}

export async function useMore(signal: AbortSignal): Promise<bigint | undefined> {
  const locks: WebLockManager = webLocks(createLocker(options));
  await useWebLocks(locks, signal);
  return locks.request('a', { ifAvailable: true }, (lock: HeldLock | null) =>
    lock?.signal.aborted === true ? undefined : lock?.fencingToken,
  );
}

export function describe(error: unknown): string {
  if (!isLockerError(error)) return 'another error';
  switch (error.code) {
    case 'LOCK_TIMEOUT':
      return error.holder ?? error.lockName;
    case 'LOCK_LOST':
      return error.fencingToken.toString();
    case 'ETCD_UNAVAILABLE':
      return error.hosts.map(({ reason }) => reason).join();
    default:
      return error.message;
  }
}

export const lockShared = (locker: Locker, mode: Mode): Promise<Lock> => locker.lock('a', { mode });
// @ts-expect-error a semaphore has no mode
export const lockBoth = (locker: Locker): Promise<Lock> => locker.lock('a', { mode: 'shared', slots: 2 });
// @ts-expect-error an option that does not exist
createLocker({ timeToLive: 3 });
// @ts-expect-error a token is a bigint
export const token: number = {} as Lock['fencingToken'] & {};
