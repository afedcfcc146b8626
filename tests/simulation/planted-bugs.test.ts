/** Bugs planted into a copy of the source: the simulation must find each of them. */
import { execFile } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { plant, planted } from './planted.ts';

describe('a planted bug', () => {
  // A change of the code changes which seeds find a bug. All seeds miss it by chance in one case of 160 000.
  test.for(planted)('$name is found', { timeout: 180_000 }, async (bug) => {
    using copy = plant(bug);

    const seeds = ['--from', String(bug.from ?? 1), '--runs', String(4 * bug.foundWithin)];
    const { code, output } = await simulate(copy.script, '--until-found', ...seeds);

    // The bug must break its own rule: a planted change that only crashes the code is not a find.
    expect(output).toMatch(new RegExp(`^seed \\d+: (${bug.rules.join('|')}): `, 'm'));
    expect(code).toBe(1);
  });

  test('is reported with a short history and the command that repeats it', { timeout: 60_000 }, async () => {
    const [bug] = planted.filter(({ name }) => name === 'no-own-entry-check');
    if (bug === undefined) throw new Error('Cannot find the planted bug no-own-entry-check');
    using copy = plant(bug);

    const found = await simulate(copy.script, '--runs', '30');
    const [, command = ''] = /^Replay the short run: npm run simulate -- (.*)$/m.exec(found.output) ?? [];
    const replayed = await simulate(copy.script, ...command.split(' '));

    expect(found.output).toMatch(/breaks the rule 'gone'/);
    expect(found.output.split('\n').length).toBeLessThan(200);
    expect(replayed.code).toBe(1);
    expect(replayed.output).toMatch(/^gone: /m);
  });
});

function simulate(script: string, ...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, ...args], { maxBuffer: 2 ** 26 }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, output: stdout + stderr });
    });
  });
}
