/** Tests of the figures in docs/ttl.md: a freeze or an outage of half the TTL costs nothing, whenever it begins. */
import { describe, expect, test } from 'vitest';
import { after, calls, type Fault, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';

const ttls = [5_000, 10_000, 15_000, 60_000];
/** So many moments between two renewals are tried. */
const moments = 40;

/** Advances to a moment after the last renewal: later from round to round, up to the next renewal. */
const offsetMs = (round: number, ttlMs: number): number => Math.round((ttlMs / 3) * (round / moments));

describe('half the TTL', () => {
  test.each(ttls)('a freeze costs no lock with a TTL of %i ms', async (ttlMs) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ ttlMs }).lock('a');

    for (let round = 0; round <= moments; round += 1) {
      await memory.clock.advance(offsetMs(round, ttlMs));
      memory.clock.freeze(ttlMs / 2);
      expect(lock.held).toBe(true);
      await memory.clock.advance(ttlMs / 10);
      expect(lock.remainingMs).toBeGreaterThan(ttlMs / 2);
    }
  });

  // With a TTL of 5 s the third try may begin at the deadline.
  test.each(ttls.slice(1))('an outage without any response costs no lock with a TTL of %i ms', async (ttlMs) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ ttlMs }).lock('a');
    let failures = 0;
    // The first try has a sixth of the TTL, a later one a third.
    const silent: Fault = (send, call) => after(memory.clock, ttlMs / (failures++ === 0 ? 6 : 3), lostRequest)(send, call);

    for (let round = 0; round <= moments; round += 1) {
      await memory.clock.advance(offsetMs(round, ttlMs));
      failures = 0;
      const end = memory.store.every(calls.renew, silent);
      await memory.clock.advance(ttlMs / 2);
      end();
      await memory.clock.advance(ttlMs / 2.5);
      expect(lock.held).toBe(true);
    }
  });

  test.each(ttls)('a freeze of nine tenths of a TTL of %i ms costs the lock', async (ttlMs) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker({ ttlMs }).lock('a');

    memory.clock.freeze(0.9 * ttlMs);

    expect(lock.held).toBe(false);
  });
});
