/** What the tests of TLS and auth ask of a locker, and how they look at what it says. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { createLocker, EtcdAuthError, type Locker, type LockerOptions } from 'etcd-locker';
import { expect } from 'vitest';
import type { Identity } from './certificates.ts';
import { follow } from './fixtures-holding.ts';
import { timed } from './integration-stage.ts';

export const clientOf = ({ privateKey, certificate }: Identity) => ({ privateKey, certChain: certificate });

/** Every way in which a locker goes to etcd. */
export const uses: Readonly<Record<string, (locker: Locker) => Promise<unknown>>> = {
  lock: (locker) => locker.lock('x'),
  tryLock: (locker) => locker.tryLock('x'),
  lockAll: (locker) => locker.lockAll(['x', 'y']),
  tryLockAll: (locker) => locker.tryLockAll(['x', 'y']),
  inspect: (locker) => locker.inspect('x'),
  list: async (locker) => {
    for await (const state of locker.list()) return state;
    return undefined;
  },
  watch: async (locker) => {
    for await (const state of locker.watch('x')) return state;
    return undefined;
  },
};

/** Also what options make of them. */
export const allUses: typeof uses = {
  ...uses,
  'lock (shared)': (locker) => locker.lock('x', { mode: 'shared' }),
  'lock (slots)': (locker) => locker.lock('x', { slots: 2 }),
  'tryLock (shared)': (locker) => locker.tryLock('x', { mode: 'shared' }),
  'lock (renew: false)': (locker) => locker.lock('x', { renew: false }),
  'lock (maxHoldMs)': async (locker) => {
    const { signal } = await locker.lock('x', { maxHoldMs: 100 });
    if (!signal.aborted) await once(signal, 'abort');
  },
  setValue: async (locker) => {
    const lock = await locker.lock('x');
    await lock.setValue('another');
  },
};

/** Those for which reading is enough. */
export const readingUses: readonly string[] = ['inspect', 'list', 'watch'];

/** How a use of a locker with these options ends, and how many milliseconds that takes. */
export async function outcomeOf(options: LockerOptions, method = 'lock'): Promise<{ error: unknown; ms: number }> {
  await using locker = createLocker(options);
  const { error, ms } = await timed(useOf(method)(locker));
  return { error, ms };
}

/** Asserts that each of these uses, side by side, is refused at once for want of a right under `prefix`, and says so. */
export async function expectAllDenied(options: LockerOptions, methods: readonly string[], prefix: string): Promise<void> {
  const outcomes = await Promise.all(methods.map(async (method) => ({ method, ...(await outcomeOf({ ...options, prefix }, method)) })));
  for (const { method, error, ms } of outcomes) {
    expect(error, method).toBeInstanceOf(EtcdAuthError);
    expect(error, method).toMatchObject({ code: 'ETCD_AUTH', prefix });
    expect((error as Error).message, method).toContain(JSON.stringify(prefix));
    // Far below requestTimeoutMs.
    expect(ms, method).toBeLessThan(3_000);
  }
}

/** Asserts that with these options locks are renewed, watched for, and handed over from locker to locker. */
export async function expectOutlivesTtl(options: LockerOptions): Promise<void> {
  await using holders = createLocker({ ...options, ttlMs: 2_000 });
  await using waiters = createLocker(options);
  const lock = await holders.lock('renewed');
  const waiting = follow(waiters.lock('renewed'));

  await sleep(2_500);

  expect([lock.held, waiting.isSettled]).toEqual([true, false]);
  await lock.release();
  expect((await waiting.promise).held).toBe(true);
}

function useOf(method: string): (locker: Locker) => Promise<unknown> {
  const use = allUses[method];
  if (use === undefined) throw new Error(`There is no such use of a locker: ${method}`);
  return use;
}

/** All that can be seen of a value by printing it in any way, its causes included. */
export function everythingOf(value: unknown): string {
  const seen = [
    inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null }),
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part)),
    String(value),
  ];
  if (value instanceof Error) seen.push(value.message, String(value.stack), value.cause === undefined ? '' : everythingOf(value.cause));
  return seen.join('\n');
}

/** A logger that keeps whatever it is told. */
export function listener() {
  const lines: string[] = [];
  const keep = (...args: unknown[]): void => {
    lines.push(args.map(everythingOf).join(' '));
  };
  return { lines, logger: { debug: keep, info: keep, warn: keep, error: keep } };
}
