/** What an integration test plays on: an etcd of its own, lockers on it, and a look behind their backs. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Lock, type Locker, type LockerOptions } from 'etcd-locker';
import { expect, vi } from 'vitest';
import { findEtcd, startEtcd, type EtcdMember, type EtcdOptions, type EtcdServer } from './etcd.ts';
import { Gateway } from './integration-gateway.ts';

/** Tries `check` until it passes: for long enough on a busy machine, and not for longer than a person waits. */
export async function eventually(check: () => unknown, timeout = 12_000): Promise<void> {
  // Not expect.poll(), which works neither in a hook nor in tests side by side.
  await vi.waitFor(
    async () => {
      await check();
    },
    { timeout, interval: 20 },
  );
}

export interface Stage<Server extends EtcdServer> extends AsyncDisposable {
  readonly server: Server;
  /** Of all its lockers; nobody else uses it. */
  readonly prefix: string;
  /** etcd itself, not through a locker. */
  readonly etcd: Gateway;
  /** As a process of its own would have it, on all members; closed by `clear` at the latest. */
  createLocker(options?: LockerOptions): Locker;
  /** As `createLocker`, but the first host that it asks is the first of `hosts`. */
  createLockerAt(hosts: readonly string[], options?: LockerOptions): Locker;
  /** Wakes who is frozen, closes all lockers, and asserts that nothing of them is left in etcd. */
  clear(): Promise<void>;
  /** Waits until `name` has so many entries. */
  queued(name: string, count: number): Promise<void>;
}

export async function openStage(options?: EtcdOptions): Promise<Stage<EtcdServer>> {
  const isShared = (await findEtcd()).kind === 'endpoints';
  return stageOn(await startEtcd(options), isShared);
}

/** The stage takes the server over, and stops it in the end. */
export function stageOn<Server extends EtcdServer>(server: Server, isShared = false): Stage<Server> {
  const lockers: Locker[] = [];
  const prefix = isShared ? `test-${randomUUID()}/` : 'locks/';
  const etcd = new Gateway(server.endpoint, prefix, isShared);
  const create = (options?: LockerOptions): Locker => {
    const locker = createLocker({ hosts: server.endpoints, prefix, ...options });
    lockers.push(locker);
    return locker;
  };
  const clear = async (): Promise<void> => {
    for (const member of server.members) if (member.pid !== undefined && !member.isAwake) member.thaw();
    await Promise.all(lockers.splice(0).map((locker) => locker.close()));
    await expectNothingLeft(etcd);
  };
  return {
    server,
    prefix,
    etcd,
    createLocker: create,
    createLockerAt(hosts, options) {
      // A locker begins anywhere in its list, so that a fleet spreads over the members.
      const random = vi.spyOn(Math, 'random').mockReturnValue(0);
      try {
        return create({ ...options, hosts });
      } finally {
        random.mockRestore();
      }
    },
    clear,
    queued: (name, count) =>
      eventually(async () => {
        expect(await etcd.entries(name)).toHaveLength(count);
      }),
    async [Symbol.asyncDispose]() {
      try {
        await clear();
      } finally {
        await server.stop();
      }
    },
  };
}

/** Asserts that no key of a locker and no lease is left, at the latest when their TTL is over. */
export async function expectNothingLeft(etcd: Gateway): Promise<void> {
  await eventually(async () => {
    expect({ keys: await etcd.keys(), leases: await etcd.leases() }).toEqual({ keys: [], leases: [] });
  });
}

/** The only member, or the one at `index`. */
export function memberOf({ members }: EtcdServer, index = 0): EtcdMember {
  const member = members[index];
  if (member === undefined) throw new Error('Cannot control this etcd: it is no process of ours');
  return member;
}

/** When `lock` counted as lost, by its signal and by the first reading of `held` that was false. */
export interface Loss {
  readonly signalledAt: number;
  readonly unheldAt: number;
}

/** Reads `held` every few milliseconds until the lock is lost; performance.now() throughout. */
export async function lossOf(lock: Lock, timeoutMs = 15_000): Promise<Loss> {
  let signalledAt = Number.NaN;
  lock.signal.addEventListener('abort', () => (signalledAt = performance.now()), { once: true });
  const giveUpAt = performance.now() + timeoutMs;
  while (lock.held) {
    if (performance.now() > giveUpAt) throw new Error(`Lock ${lock.name} is still held after ${String(timeoutMs)} ms`);
    await sleep(5);
  }
  return { signalledAt, unheldAt: performance.now() };
}

/** What a promise becomes, and how many milliseconds that takes. */
export async function timed<T>(promise: Promise<T>): Promise<{ readonly value?: T; readonly error?: unknown; readonly ms: number }> {
  const startedAt = performance.now();
  return promise.then(
    (value) => ({ value, ms: performance.now() - startedAt }),
    (error: unknown) => ({ error, ms: performance.now() - startedAt }),
  );
}
