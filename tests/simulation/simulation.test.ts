/** Thousands of seeded runs of whole lockers under faults. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { faultKinds } from './faults.ts';
import { Figures } from './figures.ts';
import { figuresReport } from './report.ts';
import { run } from './run.ts';
import { scenarioOf } from './scenario.ts';
import { reportOf, shorten } from './shorten.ts';

/** 500 in `npm test`, 2 000 in `npm run test:all`. */
const seeds = Number(process.env['SEEDS'] ?? 500);

describe('the simulation', () => {
  test(`finds nothing wrong in ${String(seeds)} seeds`, { timeout: 120_000 }, async () => {
    const startedAt = performance.now();
    const total = new Figures();

    await fc.assert(
      // The seed itself does not shrink: shorten() reduces the run that the seed makes.
      fc.asyncProperty(fc.noShrink(fc.integer({ min: 1, max: 2 ** 31 - 1 })), async (seed) => {
        const { figures, violation } = await run(scenarioOf(seed));
        total.add(figures);
        if (violation !== undefined) throw new Error(reportOf(seed, await shorten(seed)));
      }),
      { numRuns: seeds, seed: 20_261_123, endOnFailure: true, includeErrorInReport: true },
    );

    console.log(figuresReport(seeds, 0, total, performance.now() - startedAt));
    const injected = faultKinds.filter((kind) => (total.faults.get(kind) ?? 0) > 0);
    expect(injected).toEqual(faultKinds);
    expect([...total.losses.keys()].sort()).toEqual(['closed', 'deleted', 'expired', 'max-hold']);
    expect(total.locks).toBeGreaterThan(20 * seeds);
    expect(total.kept).toBeGreaterThan(seeds);
    expect(total.wanted).toBeGreaterThan(seeds);
  });

  test('gives the same run for the same seed', async () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const first = await run(scenarioOf(seed), true);
      const second = await run(scenarioOf(seed), true);
      const withoutHistory = await run(scenarioOf(seed));

      expect(second.history).toEqual(first.history);
      expect(withoutHistory.figures).toEqual(first.figures);
    }
  });
});
