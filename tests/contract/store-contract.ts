/** The contract of the store port for every store. Each suite takes a function that opens a fixture. */
import { describe } from 'vitest';
import type { OpenFixture } from '../support/fixtures/lockers.ts';
import { storeCommitContract } from './suites/store-commit.ts';
import { storeLeaseContract } from './suites/store-lease.ts';
import { storeWatchContract } from './suites/store-watch.ts';

export function storeContract(name: string, open: OpenFixture): void {
  describe(`Store contract on ${name}`, () => {
    storeLeaseContract(open);
    storeCommitContract(open);
    storeWatchContract(open);
  });
}
