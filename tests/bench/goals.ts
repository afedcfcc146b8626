/** The goals of the library, as ratios within one run, and the results. */
import { absent, callsPerOperation, number, perSecond, type Table } from './tables.ts';
import type { Results, RivalName } from './results.ts';
import { quantile, ratio } from './statistics.ts';
import { totalCalls } from './metrics.ts';

interface Goal {
  readonly work: string;
  readonly against: string;
  readonly goal: string;
  /** The result, or null if it was not measured. */
  readonly found: { readonly text: string; readonly isMet: boolean; readonly missedBy?: number } | null;
}

export function goalsTable(results: Results): Table {
  return {
    title: 'Goals: ratios within a round, the median of all rounds (lowest–highest)',
    headings: ['work', 'against', 'goal', 'found', ''],
    rows: goalsOf(results).map(({ work, against, goal, found }) => [work, against, goal, found?.text ?? absent, verdict(found)]),
  };
}

function verdict(found: Goal['found']): string {
  if (found === null) return 'not measured';
  if (found.isMet) return '✓';
  return found.missedBy === undefined ? '✗ missed' : `✗ missed by ${Math.ceil(100 * found.missedBy)} %`;
}

function goalsOf(results: Results): Goal[] {
  return [
    rateGoal(results, 'one', 'etcd3', 1.7),
    rateGoal(results, 'one', 'floor', 0.9, 'two raw transactions'),
    requestGoal(results, 'one', 'exactly 2', (calls, operations) => calls === 2 * operations),
    rateGoal(results, 'names-256', 'go', 5),
    rateGoal(results, 'names-256', 'etcd3', 25),
    rateGoal(results, 'hot-2', 'go', 5),
    rateGoal(results, 'hot-8', 'go', 5),
    rateGoal(results, 'hot-32', 'go', 1.5),
    rateGoal(results, 'clients-2', 'go', 5),
    rateGoal(results, 'clients-8', 'go', 5),
    rateGoal(results, 'clients-32', 'go', 1.5),
    rateGoal(results, 'hot-callers', 'floor', 0.9, 'raw transactions one at a time'),
    // One more request in each round, because the last hold has no successor.
    requestGoal(results, 'hot-callers', '1 a turn', (calls, operations, rounds) => calls <= operations + rounds),
    ...handOverGoals(results),
    waitingGoal(results),
    ...footprint(results),
  ].filter((goal) => goal !== null);
}

function rateGoal(results: Results, workload: string, rival: RivalName, goal: number, against?: string): Goal | null {
  const result = results.rates.find((one) => one.workload === workload);
  if (result === undefined) return null;
  const { locker, [rival]: theirs } = result.rounds;
  const base = {
    work: result.title,
    against: against ?? { etcd3: "etcd3's Lock", go: 'Go', floor: '', locker: '' }[rival],
    goal: `≥ ${goal} ×`,
  };
  if (locker === undefined || theirs === undefined) return { ...base, found: null };
  const { median, min, max } = ratio(locker.map(perSecond), theirs.map(perSecond));
  const text = `${number(median)} × (${number(min)}–${number(max)})`;
  return { ...base, found: { text, isMet: median >= goal, missedBy: 1 - median / goal } };
}

function requestGoal(
  results: Results,
  workload: string,
  goal: string,
  isMet: (calls: number, operations: number, rounds: number) => boolean,
): Goal | null {
  const result = results.rates.find((one) => one.workload === workload);
  if (result?.rounds.locker === undefined) return null;
  const rounds = result.rounds.locker;
  const calls = rounds.reduce((sum, round) => sum + totalCalls(round.calls), 0);
  const operations = rounds.reduce((sum, round) => sum + round.operations, 0);
  const text = `${callsPerOperation(rounds)
    .toFixed(3)
    .replace(/\.000$/, '')} (${calls} for ${operations})`;
  return { work: result.title, against: 'requests to etcd', goal, found: { text, isMet: isMet(calls, operations, rounds.length) } };
}

function handOverGoals({ delays }: Results): Goal[] {
  const result = delays.find(({ workload }) => workload === 'handover');
  const ours = result?.rounds.locker;
  if (result === undefined || ours === undefined) return [];
  const medians = (rounds: readonly (readonly number[])[]): number[] => rounds.map((round) => quantile(round, 0.5));
  const against = (puts: readonly (readonly number[])[]): Goal['found'] => {
    const { median, min, max } = ratio(medians(ours), medians(puts));
    return { text: `${number(median)} × (${number(min)}–${number(max)})`, isMet: median < 4, missedBy: median / 4 - 1 };
  };
  const longest = quantile(ours.flat(), 1);
  return [
    { work: result.title, against: 'a raw put at the same pace', goal: '< 4 ×', found: against(result.rounds.floor ?? []) },
    { work: result.title, against: 'raw puts in a row', goal: '< 4 ×', found: against(result.putsAtOnce) },
    {
      work: result.title,
      against: 'the longest',
      goal: 'no tail at 100 ms',
      found: { text: `${number(longest)} ms`, isMet: longest < 100 },
    },
  ];
}

function waitingGoal({ queues }: Results): Goal | null {
  const longest = queues.at(-1);
  const rounds = longest?.rounds.locker;
  if (longest === undefined || rounds === undefined) return null;
  const most = Math.max(...rounds.map(({ callsWhileWaiting }) => callsWhileWaiting));
  return {
    work: `${longest.waiters} wait, no renewal is due`,
    against: 'unary calls in 3 s',
    goal: 'none',
    found: { text: String(most), isMet: most === 0 },
  };
}

function footprint({ memory, imports }: Results): Goal[] {
  const goals: Goal[] = [];
  const held = memory?.locker;
  if (held !== undefined) {
    const { locks, leases, perLock } = held;
    const allowed = Math.ceil(locks / 1_000);
    goals.push(
      {
        work: `${number(locks)} locks held`,
        against: 'heap for each',
        goal: '< 2 048 bytes',
        found: { text: `${number(perLock.heap)} bytes`, isMet: perLock.heap < 2_048, missedBy: perLock.heap / 2_048 - 1 },
      },
      {
        work: `${number(locks)} locks held`,
        against: 'leases',
        goal: `≤ ${allowed}`,
        found: { text: String(leases), isMet: leases <= allowed },
      },
    );
  }
  if (imports !== undefined) {
    const time = quantile(imports.imported, 0.5);
    const found = { text: `${number(time)} ms`, isMet: time < 30, missedBy: time / 30 - 1 };
    goals.push({ work: 'import', against: 'a fresh process', goal: '< 30 ms', found });
  }
  return goals;
}
