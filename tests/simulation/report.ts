/** The printed summary of many runs. */
import type { Figures } from './figures.ts';
import { faultKinds } from './faults.ts';

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export function figuresReport(runs: number, violations: number, figures: Figures, tookMs: number): string {
  const counts = (entries: Iterable<readonly [string, number]>): string =>
    [...entries].map(([name, count]) => `${name} ${whole.format(count)}`).join(', ') || 'none';
  const faults = faultKinds.map((kind) => [kind, figures.faults.get(kind) ?? 0] as const);
  const injected = faults.reduce((sum, [, count]) => sum + count, 0);
  const lines: (readonly [string, string])[] = [
    ['runs', `${whole.format(runs)} in ${(tookMs / 1000).toFixed(1)} s, ${whole.format((runs / tookMs) * 1000)} per second`],
    ['virtual time', `${whole.format(figures.virtualMs / 3_600_000)} h, ${whole.format(figures.steps)} steps, each one checked`],
    ['faults injected', `${whole.format(injected)}: ${counts(faults)}`],
    ['locks acquired', `${whole.format(figures.locks)}, kept ${whole.format(figures.kept)}, wanted ${whole.format(figures.wanted)}`],
    ['releases', whole.format(figures.releases)],
    ['losses', counts(figures.losses)],
    ['null results', whole.format(figures.nulls)],
    ['calls that failed', counts(figures.errors)],
    ['states reported', whole.format(figures.states)],
    ['longest wait', `${(figures.longestWaitMs / 1000).toFixed(1)} s of virtual time`],
    ['violations', whole.format(violations)],
  ];
  return lines.map(([name, value]) => `${name.padEnd(18)} ${value}`).join('\n');
}
