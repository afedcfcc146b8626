/** Makes a failing run shorter: leaves out what it fails without, as long as it breaks the same rule. */
import { faultKinds } from './faults.ts';
import { run, type Result } from './run.ts';
import { type Reductions, scenarioOf } from './scenario.ts';

export interface Shortened {
  readonly reductions: Reductions;
  /** With its history. */
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

/** The one command that runs it again. */
export function commandOf(seed: number, { without, lockers, callers, names, chaosMs }: Reductions): string {
  const words = [`--seed ${String(seed)}`];
  if (without !== undefined && without.length > 0) words.push(`--without ${without.join(',')}`);
  for (const [word, count] of Object.entries({ lockers, callers, names, chaos: chaosMs })) {
    if (count !== undefined) words.push(`--${word} ${String(count)}`);
  }
  return `npm run simulate -- ${words.join(' ')}`;
}

const shownLines = 120;

/** What a failing run looked like, short enough to read. */
export function reportOf(seed: number, { reductions, result }: Shortened): string {
  const { violation, history, scenario } = result;
  const shown = history.slice(-shownLines);
  const left = history.length - shown.length;
  return [
    `Seed ${String(seed)} breaks the rule '${violation?.rule ?? 'none'}': ${violation?.message ?? ''}`,
    `${String(scenario.lockers)} lockers of ${String(scenario.callers)} callers, TTL ${scenario.ttlsMs.join(' and ')} ms, requests take at most ${String(scenario.requestTimeoutMs)} ms`,
    `faults: ${scenario.kinds.join(', ')}`,
    ...(left > 0 ? [`(${String(left)} lines before)`] : []),
    ...shown,
    `Again, from the beginning: ${commandOf(seed, reductions)}`,
    `As it came first:          ${commandOf(seed, {})}`,
  ].join('\n');
}
