/** Tests of the chain of locks that an async context holds. */
import { describe, expect, test } from 'vitest';
import type { Hold } from '../../src/lock/hold.ts';
import { findOwnHolds, runHolding } from '../../src/lock/own-holds.ts';

const context = {} as Hold['context'];
const newHold = (): Hold & { isHeld: boolean } => ({ context, name: 'a', isHeld: true }) as never;

describe('the locks of an async context', () => {
  test('are all that are held, the innermost first', () => {
    const [outer, inner] = [newHold(), newHold()];

    const found = runHolding(outer, () => runHolding(inner, () => findOwnHolds(context, 'a')));

    expect(found).toEqual([inner, outer]);
  });

  test('leave out those that were released before a function of the same context took its lock', async () => {
    const holds = Array.from({ length: 100 }, newHold);
    // Each function starts the next one, in its own context, before it releases its lock.
    const start = async (at: number): Promise<readonly Hold[]> => {
      const hold = holds[at];
      if (hold === undefined) return [];
      const next = runHolding(hold, async () => {
        await Promise.resolve();
        return at === holds.length - 1 ? findOwnHolds(context, 'a') : start(at + 1);
      });
      hold.isHeld = false;
      return next;
    };
    const last = holds[holds.length - 1];

    expect(await start(0)).toEqual([last]);
  });
});
