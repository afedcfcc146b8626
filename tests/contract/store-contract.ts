/** The contract of the store port, as users get it, on a fixture of our own. */
import { storeContract as registerContract } from 'etcd-locker/testing';
import { describe, test } from 'vitest';
import type { OpenFixture } from '../support/fixtures/lockers.ts';

export function storeContract(name: string, open: OpenFixture): void {
  describe(`Store contract on ${name}`, () => {
    registerContract({
      test,
      open: async () => {
        const fixture = await open();
        const { store, prefix } = fixture;
        return { store, prefix, pass: (ms) => fixture.pass(ms), close: async () => fixture[Symbol.asyncDispose]() };
      },
    });
  });
}
