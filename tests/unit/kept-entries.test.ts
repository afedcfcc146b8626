import { expect, test } from 'vitest';
import { KeptEntries } from '../../src/queue/kept-entries.ts';
import type { LockerContext } from '../../src/session/locker-context.ts';

test('of the names that others want, the thousand that were wanted last are known', () => {
  const all = new KeptEntries({} as LockerContext);

  for (let n = 0; n < 1_001; n += 1) all.noteRecall(`name-${String(n)}`);

  expect([0, 1, 1_000].map((n) => all.isRecalled(`name-${String(n)}`))).toEqual([false, true, true]);
  all.noteRecall('name-1');
  all.noteRecall('another');
  expect(['name-1', 'name-2'].map((name) => all.isRecalled(name))).toEqual([true, false]);
});
