import { expect, test } from 'vitest';
import {
  buildCreation,
  buildDeletion,
  buildDeletionWithRead,
  buildLook,
  buildLookBehind,
  plainCreation,
} from '../../src/entry/transactions.ts';
import { entryKey, queueRange } from '../../src/keys.ts';
import { shared } from '../../src/kind.ts';

const queue = queueRange('locks/', 'a');
const entryOf = (slots: number) => ({ queue, slots, key: entryKey(queue, '1', 1, slots) });

// In one request they would have one revision, and a waiter ignores a deletion that is as old as its look.
test.each([1, shared, 3])('a deletion shares no request with a look or a creation of the same name: %d slots', (slots) => {
  const entry = entryOf(slots);
  const creation = { ...entry, value: '', creation: plainCreation(entry) };
  const reads = [
    buildLook(entry, 7n),
    buildLookBehind(entry),
    buildCreation([creation], { leaseId: '1', gate: { key: 'gate', revision: 1n } }),
  ];

  // A commit without a lane has a request of its own. Of one lane, only independent commits share a request.
  for (const { lane, isIndependent } of reads) expect([undefined, queue.key]).toContain(isIndependent === true ? 'shared' : lane);
  expect([buildDeletion(entry, 7n).lane, buildDeletionWithRead(entry, 7n).lane]).toEqual([queue.key, queue.key]);
  expect(buildDeletionWithRead(entry, 7n).isIndependent).toBe(false);
});
