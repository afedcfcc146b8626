/** What the tests of Web Locks run on: lock managers that share one origin, on a store of ours or Node's own for reference. */
import type { HeldLock, Lock, LockManager, LockOptions, WebLockManager } from 'etcd-locker/web-locks';
import { webLocks } from 'etcd-locker/web-locks';
import { expect, vi } from 'vitest';
import { deferred } from '../../src/deferred.ts';
import { type Fate, follow } from './fixtures-holding.ts';
import type { OpenFixture } from './fixtures.ts';

export interface LocksFixture extends AsyncDisposable {
  /** One client's, and another one's where there can be several. */
  readonly locks: LockManager;
  /** Tries `check` until it passes. */
  readonly until: (check: () => unknown) => Promise<void>;
}

export type OpenLocks = () => Promise<LocksFixture>;

export const openOn = (open: OpenFixture): OpenLocks => {
  return async () => {
    const fixture = await open();
    const locks = webLocks(fixture.createLocker());
    return { locks, until: fixture.until, [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose]() };
  };
};

/** `navigator.locks` of this Node, where it has them. */
export const nodeLocks = (globalThis.navigator as { readonly locks?: LockManager } | undefined)?.locks;

export const openReference = (locks: LockManager): OpenLocks => {
  const until: LocksFixture['until'] = async (check) => {
    await vi.waitFor(check, { timeout: 5_000, interval: 5 });
  };
  return () =>
    Promise.resolve({
      locks,
      until,
      // What a test that failed has left must not fail those after it.
      [Symbol.asyncDispose]: () =>
        until(async () => {
          const { held = [], pending = [] } = await locks.query();
          for (const { name = '' } of held) await locks.request(name, { steal: true }, () => undefined);
          expect([...held, ...pending]).toEqual([]);
        }),
    });
};

export interface Held<L extends Lock | null = Lock | null> {
  readonly lock: L;
  /** What `request` returned. */
  readonly request: Promise<unknown>;
  /** Lets the callback's promise be fulfilled. */
  readonly release: (value?: unknown) => void;
  readonly fail: (reason: unknown) => void;
}

interface Requesting<L extends Lock | null> {
  request: (name: string, options: LockOptions, callback: (lock: L | null) => unknown) => Promise<unknown>;
}

/** Resolves once the callback was called; its promise is then in the hands of the test. */
export function hold<L extends Lock>(locks: Requesting<L>, name: string, options: LockOptions = {}): Promise<Held<L | null>> {
  const result = deferred<unknown>();
  return new Promise((resolve, reject) => {
    const request = locks.request(name, options, (lock) => {
      resolve({ lock, request, release: result.resolve, fail: result.reject });
      return result.promise;
    });
    request.catch(reject);
  });
}

/** A request that nobody waits for, and what has become of it so far. */
export interface Asked {
  readonly lock: HeldLock | null | undefined;
  /** How often the callback was called. */
  readonly granted: number;
  /** How often the signal of its lock has fired, before the callback was called or later. */
  readonly aborts: number;
  readonly fate: Fate<unknown>;
  /** Lets the callback's promise be fulfilled. */
  readonly end: (value?: unknown) => void;
}

export function ask(locks: WebLockManager, name: string, options: LockOptions = {}): Asked {
  const result = deferred<unknown>();
  const request = locks.request(name, options, (lock) => {
    asked.lock = lock;
    asked.granted += 1;
    // It may have been robbed before it was called.
    if (lock?.signal.aborted === true) asked.aborts += 1;
    lock?.signal.addEventListener('abort', () => {
      asked.aborts += 1;
    });
    return result.promise;
  });
  const asked: { -readonly [K in keyof Asked]: Asked[K] } = {
    lock: undefined,
    granted: 0,
    aborts: 0,
    fate: follow(request),
    end: result.resolve,
  };
  return asked;
}

/** The name and, for a DOMException, that it is one; the errors of the specification have nothing else to tell them apart. */
export async function kindOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { resolved: await promise };
  } catch (error) {
    if (error instanceof DOMException) return `DOMException ${error.name}`;
    return error instanceof TypeError ? 'TypeError' : error;
  }
}
