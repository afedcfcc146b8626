/** Tests of the exported store contract: it passes on `memoryStore()`, and each broken store fails it. */
import { LeaseNotFoundError, type Operation, type Store, type WatchListener } from 'etcd-locker';
import { ManualClock, memoryStore, type MemoryStore, storeContract, type StoreFixture } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';

function openOn(build: (store: MemoryStore) => Store): StoreFixture {
  const clock = new ManualClock();
  return { store: build(memoryStore({ clock })), pass: (ms) => clock.advance(ms) };
}

/** Returns the titles of the tests that fail. */
async function findFailures(open: () => StoreFixture): Promise<string[]> {
  const tests: [title: string, run: () => Promise<void>][] = [];
  storeContract({ test: (title, run) => tests.push([title, run]), open });
  const failures: string[] = [];
  for (const [title, run] of tests) {
    await run().catch((error: unknown) => {
      expect(error).toBeInstanceOf(Error);
      failures.push(title);
    });
  }
  return failures;
}

/** A store that works as `store` does, apart from `changes`. */
const change = (store: Store, changes: Partial<Store>): Store => ({
  grant: (...args) => store.grant(...args),
  renew: (...args) => store.renew(...args),
  leaseKeys: (...args) => store.leaseKeys(...args),
  revoke: (...args) => store.revoke(...args),
  commit: (...args) => store.commit(...args),
  watch: (...args) => store.watch(...args),
  close: () => store.close(),
  ...changes,
});

const mapRanges = (operations: readonly Operation[], without: 'limit' | 'order' | 'maxCreateRevision' | 'revision'): Operation[] =>
  operations.map((one) => ('range' in one ? { range: { ...one.range, [without]: undefined } } : one));

const ignoring = (without: 'limit' | 'order' | 'maxCreateRevision' | 'revision') => (store: Store) =>
  change(store, {
    commit: (transaction, options) => store.commit({ ...transaction, then: mapRanges(transaction.then, without) }, options),
  });

const listening = (map: (listener: WatchListener) => WatchListener) => (store: Store) =>
  change(store, { watch: (request, listener) => store.watch(request, map(listener)) });

const brokenStores: Record<string, (store: Store) => Store> = {
  'grants less time': (store) => change(store, { grant: async (id, ttl) => (await store.grant(id, ttl)) - 1 }),
  'does not renew': (store) =>
    change(store, { renew: async (id, key, ms) => ({ ...(await store.renew('1', key, ms)), renewed: id !== '' }) }),
  'does not read the gate': (store) => change(store, { renew: async (...args) => ({ ...(await store.renew(...args)), gate: null }) }),
  'does not revoke': (store) => change(store, { revoke: () => Promise.resolve() }),
  'lists no keys': (store) => change(store, { leaseKeys: () => Promise.resolve(new Set()) }),
  'ignores compares': (store) => change(store, { commit: (transaction) => store.commit({ ...transaction, compare: [] }) }),
  'ignores a limit': ignoring('limit'),
  'ignores an order': ignoring('order'),
  'ignores maxCreateRevision': ignoring('maxCreateRevision'),
  'ignores the revision of a read': ignoring('revision'),
  'is not atomic': (store) =>
    change(store, {
      commit: async ({ compare, then, otherwise }) => {
        const { succeeded, revision } = await store.commit({ compare, then: [], otherwise: [] });
        const ranges = [];
        for (const one of succeeded ? then : otherwise)
          ranges.push(...(await store.commit({ compare: [], then: [one], otherwise: [] })).ranges);
        return { succeeded, revision, ranges };
      },
    }),
  'rejects with an error of its own': (store) =>
    change(store, {
      commit: (transaction) =>
        store.commit(transaction).catch((error: unknown) => {
          throw error instanceof LeaseNotFoundError ? new Error('no lease') : error;
        }),
    }),
  'reports each event alone': listening((listener) => ({
    created: (revision) => {
      listener.created(revision);
    },
    events: (events) => {
      for (const event of events) listener.events([event]);
    },
  })),
  'confirms watches at revision 0': listening((listener) => ({
    created: () => {
      listener.created(0n);
    },
    events: (events) => {
      listener.events(events);
    },
  })),
  'reports puts to a watch of deletes': (store) =>
    change(store, {
      watch: ({ key, rangeEnd }, listener) => store.watch({ key, ...(rangeEnd === undefined ? {} : { rangeEnd }) }, listener),
    }),
  'never ends a watch': (store) =>
    change(store, {
      watch: (...args) => {
        store.watch(...args);
        return () => undefined;
      },
    }),
  'confirms a watch before watch() returns': (store) =>
    change(store, {
      watch: (request, listener) => {
        listener.created(1n);
        return store.watch(request, { created: () => undefined, events: listener.events.bind(listener) });
      },
    }),
};

test('memoryStore() keeps the store contract', async () => {
  expect(await findFailures(() => openOn((store) => store))).toEqual([]);
});

describe('the store contract fails on a store that', () => {
  test.each(Object.entries(brokenStores))('%s', async (_, build) => {
    expect(await findFailures(() => openOn(build))).not.toEqual([]);
  });
});

test('storeContract() closes each store, also after a failed test', async () => {
  let [opened, closed] = [0, 0];
  const failures = await findFailures(() => {
    opened += 1;
    const fixture = openOn((store) => change(store, { renew: () => Promise.reject(new Error('broken')) }));
    return { ...fixture, close: () => Promise.resolve(void (closed += 1)) };
  });

  expect(failures.length).toBeGreaterThan(2);
  expect(closed).toBe(opened);
});
