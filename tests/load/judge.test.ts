/** Tests of the judges of the load tests. */
import { expect, test } from 'vitest';
import type { Hold } from './hold.ts';
import { judgeHolds, judgeMemory } from './judge.ts';

const hold = (fromMs: number, untilMs: number, token: number, kind = 'exclusive', slots = 1): Hold => ({
  ...{ name: 'x', kind, slots, token: BigInt(token), fromMs, untilMs },
});
const shared = (fromMs: number, untilMs: number, token: number) => hold(fromMs, untilMs, token, 'shared', Infinity);
const ofTwo = (fromMs: number, untilMs: number, token: number) => hold(fromMs, untilMs, token, 'of 2', 2);

test.each<[string, Hold[]]>([
  ['one holder after the other', [hold(0, 1, 1), hold(1, 2, 2), shared(2, 3, 3)]],
  ['several shared holders, in any order', [shared(0, 5, 2), shared(1, 3, 1), hold(5, 6, 3)]],
  ['as many holders as slots', [ofTwo(0, 5, 1), ofTwo(0, 2, 2), ofTwo(2, 4, 3)]],
  ['two names at once', [hold(0, 5, 1), { ...hold(1, 2, 1), name: 'y' }]],
])('judgeHolds() accepts %s', (_, holds) => {
  expect(judgeHolds(holds)).toEqual([]);
});

test.each<[string, Hold[]]>([
  ['two exclusive holders', [hold(0, 5, 1), hold(4, 6, 2)]],
  ['a holder within another', [hold(0, 5, 1), hold(1, 2, 2)]],
  ['a shared and an exclusive holder', [shared(0, 5, 1), hold(4, 6, 2)]],
  ['one holder more than slots', [ofTwo(0, 5, 1), ofTwo(0, 5, 2), ofTwo(4, 6, 3)]],
  ['two holders with different slots', [ofTwo(0, 5, 1), hold(1, 3, 2, 'of 3', 3)]],
  ['a token that falls', [hold(0, 1, 2), hold(2, 3, 1)]],
  ['a repeated token', [hold(0, 1, 2), hold(2, 3, 2)]],
  ['a shared holder with a lower token than the exclusive holder before it', [hold(0, 1, 2), shared(2, 3, 1)]],
])('judgeHolds() finds %s', (_, holds) => {
  expect(judgeHolds(holds)).toHaveLength(1);
});

test('judgeMemory() accepts a growth of a tenth', () => {
  expect(judgeMemory({ early: 1_000, late: 1_100 })).toEqual([]);
  expect(judgeMemory({ early: 1_000, late: 1_101 })).toHaveLength(1);
});
