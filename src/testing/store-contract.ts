/**
 * The contract of the store port, for every store: those of this package, and those of users.
 *
 * It needs no test runner of its own. `contract/` has the tests: of leases, commits and watches.
 */
import { commitTests } from './contract/commit.ts';
import { leaseTests } from './contract/leases.ts';
import { rangeTests } from './contract/ranges.ts';
import { runStoreTest, type StoreFixture } from './contract/store-test.ts';
import { watchTests } from './contract/watch.ts';

/** The test runner and the store of the contract. */
export interface StoreContractOptions {
  /** Registers one test: the `test` of vitest, jest, node:test or another runner. */
  readonly test: (title: string, run: () => Promise<void>) => unknown;
  /** Opens the store for one test. The contract closes it at the end of that test. */
  readonly open: () => StoreFixture | Promise<StoreFixture>;
}

/**
 * Registers the tests that every `Store` passes: leases, transactions, ranges and watches. In real time they take about 5 seconds in
 * sum, and the longest one takes about 4. A failed test rejects with an `AssertionError`.
 *
 * @param options the test runner, and how to open a store
 * @example
 * storeContract({ test, open: () => ({ store: new CountingStore(memoryStore()) }) })
 */
export function storeContract({ test, open }: StoreContractOptions): void {
  const tests = { ...leaseTests, ...commitTests, ...rangeTests, ...watchTests };
  for (const [title, run] of Object.entries(tests)) test(title, () => runStoreTest(open, run));
}
