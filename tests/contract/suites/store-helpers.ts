/** Helpers of the store contract: operations, reads, leases and watches. */
import { expect } from 'vitest';
import type { LockerFixture } from '../../support/fixtures/lockers.ts';
import type { Operation, Range, Store, WatchEvent, WatchRequest } from '../../../src/store/store.ts';

let lastLease = BigInt(Date.now()) << 20n;

/** Grants a lease, and revokes it when its scope ends. */
export async function grantLease({ store }: LockerFixture, ttlSeconds = 60): Promise<AsyncDisposable & { readonly leaseId: string }> {
  const leaseId = String((lastLease += BigInt(1 + Math.floor(Math.random() * 1_000))));
  expect(await store.grant(leaseId, ttlSeconds)).toBeGreaterThanOrEqual(ttlSeconds);
  return { leaseId, [Symbol.asyncDispose]: () => store.revoke(leaseId) };
}

export const put = (key: string, value: string, leaseId: string): Operation => ({ put: { key, value, leaseId } });
export const remove = (key: string): Operation => ({ delete: { key } });

export const write = (store: Store, ...then: Operation[]) => store.commit({ compare: [], then, otherwise: [] });

export async function read(store: Store, range: Range) {
  const { ranges } = await store.commit({ compare: [], then: [{ range }], otherwise: [] });
  return ranges[0] ?? [];
}

export interface RecordedWatch {
  readonly created: bigint[];
  /** The events of each call of the listener. */
  readonly batches: (readonly WatchEvent[])[];
  readonly stop: () => void;
}

/** Creates a watch, records its events, and waits until it is confirmed. */
export async function recordWatch({ store, until }: LockerFixture, request: WatchRequest): Promise<RecordedWatch> {
  const created: bigint[] = [];
  const batches: RecordedWatch['batches'] = [];
  const stop = store.watch(request, {
    created: (revision) => void created.push(revision),
    events: (events) => void batches.push(events),
  });
  await until(() => {
    expect(created).toHaveLength(1);
  });
  return { created, batches, stop };
}
