/** What a contract test runs on: lockers that share one store, a look behind the scenes, and time that passes. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { ManualClock } from 'etcd-locker/testing';
import { expect, vi } from 'vitest';
import { queueRange } from '../../src/keys.ts';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { etcdStore } from '../../src/store/etcd/etcd-store.ts';
import { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import { MemoryStore } from '../../src/store/memory/memory-store.ts';
import type { KeyValue, Store } from '../../src/store/store.ts';
import { expectEmptyEtcd } from './leak-check.ts';

export interface LockerFixture extends AsyncDisposable {
  /** Nobody else uses it. */
  readonly prefix: string;
  /** The same data as the lockers': what another process sees and does. */
  readonly store: Store;
  /** How often a test may repeat what costs a round trip: all that was asked for, or fewer. */
  times(count: number): number;
  /** As a process of its own would have it; closed with the fixture. */
  createLocker(options?: LockerOptions): Locker;
  /** The entries of a name's queue, oldest first. */
  entries(name: string): Promise<readonly KeyValue[]>;
  /** The gates of the sessions that live. */
  gates(): Promise<readonly KeyValue[]>;
  deleteKey(key: string): Promise<void>;
  /** Lets so much time pass. */
  pass(ms: number): Promise<void>;
  /** Tries `check` until it passes, while time passes. */
  readonly until: (check: () => unknown) => Promise<void>;
}

export type OpenFixture = () => Promise<LockerFixture>;

export async function openMemory(): Promise<LockerFixture> {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const store = new MemoryStore(etcd, clock);
  const prefix = 'locks/';
  const lockers: Locker[] = [];
  await Promise.resolve();
  return {
    prefix,
    store,
    ...behind(store, prefix),
    times: (count) => count,
    createLocker: (options) => track(lockers, createLocker({ store, prefix, ...options })),
    pass: (ms) => clock.advance(ms),
    async until(check) {
      for (let tries = 0; ; tries += 1) {
        try {
          await check();
          return;
        } catch (error) {
          if (tries === 200) throw error;
          await clock.advance(tries < 20 ? 0 : 50);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(lockers.map((locker) => locker.close()));
      await clock.settle();
      const left = { timers: clock.timerCount, isHeld: clock.isHeld, leases: etcd.leaseIds, watches: etcd.watchCount };
      expect(left).toEqual({ timers: 0, isHeld: false, leases: [], watches: 0 });
      expect(await keysUnder(store, prefix)).toEqual([]);
    },
  };
}

export async function openEtcd(endpoints: readonly string[]): Promise<LockerFixture> {
  const [endpoint = ''] = endpoints;
  const prefix = `test-${randomUUID()}/`;
  const hosts = [...endpoints];
  const store = etcdStore(resolveLockerOptions({ hosts, prefix }));
  const lockers: Locker[] = [];
  // Every session that ever was has put its gate.
  const leases = new Set<string>();
  const stop = await new Promise<() => void>((resolve) => {
    const unwatch = store.watch(gateRange(prefix), {
      created: () => {
        resolve(unwatch);
      },
      events: (events) => {
        for (const { type, kv } of events) if (type === 'put') leases.add(kv.leaseId);
      },
    });
  });
  return {
    prefix,
    store,
    ...behind(store, prefix),
    times: (count) => Math.ceil(count / 20),
    createLocker: (options) => track(lockers, createLocker({ hosts, prefix, ...options })),
    pass: (ms) => sleep(ms),
    until: async (check) => {
      await vi.waitFor(
        async () => {
          await check();
        },
        { timeout: 10_000, interval: 10 },
      );
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(lockers.map((locker) => locker.close()));
      stop();
      await store.close();
      await expectEmptyEtcd(endpoint, prefix, leases);
    },
  };
}

function behind(store: Store, prefix: string): Pick<LockerFixture, 'entries' | 'gates' | 'deleteKey'> {
  return {
    entries: (name) => readRange(store, { ...queueRange(prefix, name), order: 'oldest' }),
    gates: () => readRange(store, gateRange(prefix)),
    async deleteKey(key) {
      await store.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    },
  };
}

function track(lockers: Locker[], locker: Locker): Locker {
  lockers.push(locker);
  return locker;
}

const gateRange = (prefix: string) => ({ key: `${prefix}@sessions/`, rangeEnd: `${prefix}@sessions0` });

async function readRange(store: Store, range: { key: string; rangeEnd?: string; order?: 'oldest' }): Promise<readonly KeyValue[]> {
  const { ranges } = await store.commit({ compare: [], then: [{ range }], otherwise: [] });
  return ranges[0] ?? [];
}

/** `prefix` ends with a slash, and '0' follows it. */
export async function keysUnder(store: Store, prefix: string): Promise<readonly string[]> {
  const found = await readRange(store, { key: prefix, rangeEnd: `${prefix.slice(0, -1)}0` });
  return found.map(({ key }) => key);
}
