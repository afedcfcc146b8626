/** What the port promises, on every adapter: one suite, a function of how to open one. */
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
