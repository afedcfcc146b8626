/** What one test of the store contract gets, and helpers for operations and watches. */
import assert from 'node:assert/strict';
import type { Committed, KeyValue, Operation, Range, Store, WatchEvent, WatchRequest } from '../../store/store.ts';

/** A store, for one test of the contract. */
export interface StoreFixture {
  readonly store: Store;
  /** The beginning of all keys that the test writes. Default: a random one. */
  readonly prefix?: string | undefined;
  /** Lets `ms` milliseconds pass for the leases of the store. Default: waits in real time. */
  readonly pass?: ((ms: number) => Promise<void>) | undefined;
  /** Ends the test. Default: closes the store. */
  readonly close?: (() => Promise<void>) | undefined;
}

export interface StoreTestContext {
  readonly store: Store;
  readonly prefix: string;
  readonly pass: (ms: number) => Promise<void>;
  /** Grants a lease, which is revoked at the end of the test. Resolves with its id. */
  readonly grant: (ttlSeconds?: number) => Promise<string>;
  /** Repeats `check` until it passes, for at most 10 seconds. */
  readonly until: (check: () => unknown) => Promise<void>;
}

export type StoreTest = (context: StoreTestContext) => Promise<void>;

const untilMs = 10_000;
const stepMs = 50;
/** The first tries come without a pause: a response is a few turns of the event loop away. */
const quickTries = 20;

let lastLease = BigInt(Date.now()) << 20n;

export async function runStoreTest(open: () => StoreFixture | Promise<StoreFixture>, run: StoreTest): Promise<void> {
  const fixture = await open();
  const { store, prefix = `contract-${crypto.randomUUID()}/`, pass = wait, close = () => store.close() } = fixture;
  const leases: string[] = [];
  const grant = async (ttlSeconds = 60): Promise<string> => {
    const leaseId = String((lastLease += BigInt(1 + Math.floor(Math.random() * 1_000))));
    leases.push(leaseId);
    const granted = await store.grant(leaseId, ttlSeconds);
    assert.ok(granted >= ttlSeconds, `grant() resolved with ${String(granted)} seconds, less than the ${String(ttlSeconds)} asked for`);
    return leaseId;
  };
  const until = async (check: () => unknown): Promise<void> => {
    for (let tries = 0; ; tries += 1) {
      try {
        await check();
        return;
      } catch (error) {
        if ((tries - quickTries) * stepMs > untilMs) throw error;
        await pass(tries < quickTries ? 0 : stepMs);
      }
    }
  };
  try {
    await run({ store, prefix, pass, grant, until });
  } finally {
    try {
      for (const leaseId of leases) await store.revoke(leaseId);
    } finally {
      await close();
    }
  }
}

const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

export const put = (key: string, value: string, leaseId: string): Operation => ({ put: { key, value, leaseId } });
export const remove = (key: string): Operation => ({ delete: { key } });

export const write = (store: Store, ...then: Operation[]): Promise<Committed> => store.commit({ compare: [], then, otherwise: [] });

export async function read(store: Store, range: Range): Promise<readonly KeyValue[]> {
  const { ranges } = await store.commit({ compare: [], then: [{ range }], otherwise: [] });
  return ranges[0] ?? [];
}

export const valuesOf = (kvs: readonly KeyValue[]): string[] => kvs.map(({ value }) => value);

/** The range of all keys that begin with `path` and a slash. */
export const under = (path: string): { readonly key: string; readonly rangeEnd: string } => ({ key: `${path}/`, rangeEnd: `${path}0` });

export interface RecordedWatch {
  readonly created: bigint[];
  /** The events of each call of the listener. */
  readonly batches: (readonly WatchEvent[])[];
  readonly stop: () => void;
}

/** Creates a watch, records its events, and waits until it is confirmed. */
export async function recordWatch({ store, until }: StoreTestContext, request: WatchRequest): Promise<RecordedWatch> {
  const created: bigint[] = [];
  const batches: RecordedWatch['batches'] = [];
  const stop = store.watch(request, {
    created: (revision) => void created.push(revision),
    events: (events) => void batches.push(events),
  });
  assert.equal(created.length, 0, 'watch() called its listener before it returned');
  await until(() => {
    assert.equal(created.length, 1);
  });
  return { created, batches, stop };
}
