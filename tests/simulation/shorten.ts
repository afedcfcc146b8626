/** Shortens a failing run: leaves out each part without which the run still breaks the same rule. */
import { faultKinds } from './faults.ts';
import { run, type Result } from './run.ts';
import { type Reductions, scenarioOf } from './scenario.ts';

export interface Shortened {
  readonly reductions: Reductions;
  /** The result of the shortened run, with its history. */
  readonly result: Result;
}

export async function shorten(seed: number, given: Reductions = {}): Promise<Shortened> {
  let reductions = given;
  const first = await run(scenarioOf(seed, reductions));
  const fails = async (next: Reductions): Promise<boolean> => {
    const { violation } = await run(scenarioOf(seed, next));
    return violation !== undefined && violation.rule === first.violation?.rule;
  };
  const attempt = async (next: Reductions): Promise<boolean> => {
    const isShorter = await fails(next);
    if (isShorter) reductions = next;
    return isShorter;
  };
  if (first.violation !== undefined) {
    const { scenario } = first;
    for (let chaosMs = scenario.chaosMs / 2; chaosMs >= 500 && (await attempt({ ...reductions, chaosMs })); chaosMs /= 2);
    for (let lockers = 1; lockers < scenario.lockers && !(await attempt({ ...reductions, lockers })); lockers += 1);
    for (let callers = 1; callers < scenario.callers && !(await attempt({ ...reductions, callers })); callers += 1);
    for (let names = 1; names < scenario.names.length && !(await attempt({ ...reductions, names })); names += 1);
    for (const kind of faultKinds) {
      const without = [...(reductions.without ?? []), kind];
      if (scenario.kinds.includes(kind)) await attempt({ ...reductions, without });
    }
  }
  return { reductions, result: await run(scenarioOf(seed, reductions), true) };
}

/** Returns the command that repeats the run. */
export function commandOf(seed: number, { without, lockers, callers, names, chaosMs, keepers }: Reductions): string {
  const options = [`--seed ${String(seed)}`];
  if (keepers === true) options.push('--keepers');
  if (without !== undefined && without.length > 0) options.push(`--without ${without.join(',')}`);
  for (const [option, count] of Object.entries({ lockers, callers, names, chaos: chaosMs })) {
    if (count !== undefined) options.push(`--${option} ${String(count)}`);
  }
  return `npm run simulate -- ${options.join(' ')}`;
}

const shownLines = 120;

/** Returns the report of a failing run: the violation, the last lines of its history, and the commands that repeat it. */
export function reportOf(seed: number, { reductions, result }: Shortened): string {
  const { violation, history, scenario } = result;
  const shown = history.slice(-shownLines);
  const omitted = history.length - shown.length;
  return [
    `Seed ${String(seed)} breaks the rule '${violation?.rule ?? 'none'}': ${violation?.message ?? ''}`,
    `${String(scenario.lockers)} lockers of ${String(scenario.callers)} callers, TTL ${scenario.ttlsMs.join(' and ')} ms, requestTimeoutMs ${String(scenario.requestTimeoutMs)}`,
    `faults: ${scenario.kinds.join(', ')}`,
    ...(omitted > 0 ? [`(${String(omitted)} earlier lines)`] : []),
    ...shown,
    `Replay the short run: ${commandOf(seed, reductions)}`,
    `Replay the full run:  ${commandOf(seed, reductions.keepers === true ? { keepers: true } : {})}`,
  ].join('\n');
}
