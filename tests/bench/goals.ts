/** The goals of the library, as ratios within one run, and the results. */
import { callsAndMessages, totalCalls } from './metrics.ts';
import { perSecond, rateOf, rivalTitles, type RateResult, type Results, type RivalName, type Round } from './results.ts';
import { judge, median, quantile, ratios, type Verdict } from './statistics.ts';
import { absent, number, withQuartiles, type Table } from './tables.ts';
import { delaysMs, hotClients } from './workloads/list.ts';

export interface Goal {
  readonly work: string;
  readonly against: string;
  readonly goal: string;
  /** The result, or null if it was not measured. */
  readonly found: { readonly text: string; readonly verdict: Verdict; readonly missedBy?: number } | null;
}

export function goalsTable(results: Results): Table {
  return {
    title: 'Goals: ratios within a round, the median of all rounds (lower–upper quartile)',
    headings: ['work', 'against', 'goal', 'found', ''],
    rows: goalsOf(results).map(({ work, against, goal, found }) => [work, against, goal, found?.text ?? absent, verdictText(found)]),
  };
}

function verdictText(found: Goal['found']): string {
  if (found === null) return 'not measured';
  if (found.verdict !== 'missed') return found.verdict === 'met' ? '✓ met' : '~ open';
  return found.missedBy === undefined ? '✗ missed' : `✗ missed by ${Math.ceil(100 * found.missedBy)} %`;
}

/** Returns the goals of the workloads that were measured. */
export function goalsOf(results: Results): Goal[] {
  return [
    ...keptGoals(results),
    ...delayGoals(results),
    ...([12, 6, 1.5] as const).map((goal, index) => rateGoal(results, `clients-${hotClients[index] ?? ''}`, 'go', goal)),
    rateGoal(results, 'names-256', 'go', 4),
    bestRoundGoal(results, 'names-256', 'go', 5),
    rateGoal(results, 'names-256', 'etcd3', 25),
    requestGoal(results, 'one', 'exactly 2', ({ calls }, operations) => calls === 2 * operations),
    rateGoal(results, 'one', 'etcd3', 1.7),
    rateGoal(results, 'one', 'floor', 0.9, 'two raw transactions'),
    // What was there before must not become slower.
    ...['one', 'names-256', 'hot-callers'].map((workload) => rateGoal(results, workload, 'before', 0.95)),
    ...([5, 5, 1.5] as const).map((goal, index) => rateGoal(results, `hot-${hotClients[index] ?? ''}`, 'go', goal)),
    rateGoal(results, 'hot-callers', 'floor', 0.9, 'raw transactions one at a time'),
    // One more request in each round, because the last hold has no successor.
    requestGoal(results, 'hot-callers', '1 a turn', ({ calls }, operations, rounds) => calls <= operations + rounds),
    ...handOverGoals(results),
    waitingGoal(results),
    ...footprint(results),
  ].filter((goal) => goal !== null);
}

function compare(values: readonly number[], goal: number, direction: 'at least' | 'at most', unit: string): NonNullable<Goal['found']> {
  const middle = median(values);
  const missedBy = direction === 'at least' ? 1 - middle / goal : middle / goal - 1;
  return { text: withQuartiles(values, unit), verdict: judge(values, goal, direction), missedBy };
}

const againstTitles: Partial<Record<RivalName, string>> = { etcd3: "etcd3's Lock", before: 'the tree before' };

function rateGoal(results: Results, workload: string, rival: RivalName, goal: number, against?: string): Goal | null {
  const result = rateOf(results, workload);
  const theirs = result?.rounds[rival];
  // The tree before takes part only if it is asked for.
  if (result === undefined || (rival === 'before' && theirs === undefined)) return null;
  const base = { work: result.title, against: against ?? againstTitles[rival] ?? rivalTitles[rival], goal: `≥ ${goal} ×` };
  const { locker } = result.rounds;
  if (locker === undefined || theirs === undefined) return { ...base, found: null };
  return { ...base, found: compare(ratios(locker.map(perSecond), theirs.map(perSecond)), goal, 'at least', ' ×') };
}

function bestRoundGoal(results: Results, workload: string, rival: RivalName, goal: number): Goal | null {
  const result = rateOf(results, workload);
  if (result === undefined) return null;
  const { locker, [rival]: theirs } = result.rounds;
  const base = { work: result.title, against: `${rivalTitles[rival]}, the best round`, goal: `≥ ${goal} ×` };
  if (locker === undefined || theirs === undefined) return { ...base, found: null };
  const best = quantile(ratios(locker.map(perSecond), theirs.map(perSecond)), 1);
  return { ...base, found: { text: `${number(best)} ×`, verdict: best >= goal ? 'met' : 'missed', missedBy: 1 - best / goal } };
}

interface Requests {
  /** Unary calls, and messages of clients on streams. */
  readonly calls: number;
  readonly messages: number;
}

function requestsOf(rounds: readonly Round[]): Requests {
  const messages = rounds.reduce((sum, round) => sum + callsAndMessages(round.calls)[1], 0);
  return { calls: rounds.reduce((sum, round) => sum + totalCalls(round.calls), 0) - messages, messages };
}

function requestGoal(
  results: Results,
  workload: string,
  goal: string,
  isMet: (requests: Requests, operations: number, rounds: number) => boolean,
): Goal | null {
  const result = rateOf(results, workload);
  if (result?.rounds.locker === undefined) return null;
  const rounds = result.rounds.locker;
  const requests = requestsOf(rounds);
  const operations = rounds.reduce((sum, round) => sum + round.operations, 0);
  const each = number(requests.calls / operations);
  const messages = requests.messages === 0 ? '' : `, and ${number(requests.messages)} messages on watches`;
  const text = `${each} (${number(requests.calls)} for ${number(operations)}${messages})`;
  return {
    work: result.title,
    against: 'requests to etcd',
    goal,
    found: { text, verdict: isMet(requests, operations, rounds.length) ? 'met' : 'missed' },
  };
}

function keptGoals(results: Results): (Goal | null)[] {
  return [
    requestGoal(results, 'kept', '0', ({ calls }) => calls === 0),
    rateGoal(results, 'kept', 'go', 100),
    timeGoal(rateOf(results, 'kept'), 10),
    requestGoal(results, 'rotation', '0', ({ calls }) => calls === 0),
    rateGoal(results, 'rotation', 'go', 50),
    ...recallGoals(results),
  ];
}

/** The time of a lock and its release. */
function timeGoal(result: RateResult | undefined, goalUs: number): Goal | null {
  if (result?.rounds.locker === undefined) return null;
  const times = result.rounds.locker.map((round) => 1e6 / perSecond(round));
  return { work: result.title, against: 'the clock', goal: `≤ ${goalUs} µs`, found: compare(times, goalUs, 'at most', ' µs') };
}

function recallGoals({ recall }: Results): Goal[] {
  if (recall === undefined) return [];
  const work = 'another process wants a kept lock';
  const times = recall.map(({ recalled, plain }) => median(recalled) / median(plain));
  const count = recall.reduce((sum, { recalled }) => sum + recalled.length, 0);
  const calls = recall.reduce((sum, round) => sum + round.calls, 0);
  return [
    { work, against: 'a free name', goal: '≤ 2.5 ×', found: compare(times, 2.5, 'at most', ' ×') },
    // The enqueue of the contender, its look if the watch was too late for it, and the deletion of the keeper.
    {
      work,
      against: 'requests of both processes',
      goal: '2 to 3',
      found: {
        text: `${number(calls / count)} (${number(calls)} for ${number(count)})`,
        verdict: calls >= 2 * count && calls <= 3 * count ? 'met' : 'missed',
      },
    },
  ];
}

function delayGoals(results: Results): (Goal | null)[] {
  const workloads = delaysMs.flatMap((delayMs) => hotClients.map((clients) => ({ clients, name: `delay-${delayMs}-${clients}` })));
  const againstGo: Readonly<Record<number, number>> = { 2: 10, 8: 2.8, 32: 2 };
  return workloads.flatMap(({ clients, name }) => [
    rateGoal(results, name, 'go', againstGo[clients] ?? 1),
    rateGoal(results, name, 'before', 1.7),
    turnGoal(rateOf(results, name)),
  ]);
}

/** The time of a turn, against what a hand-over by a server costs at least. */
function turnGoal(result: RateResult | undefined): Goal | null {
  const { rounds, limits } = result ?? {};
  if (result === undefined || rounds?.locker === undefined || limits === undefined) return null;
  const turns = rounds.locker.map((round) => 1_000 / perSecond(round));
  const shares = ratios(
    turns,
    limits.map(({ putMs }) => putMs),
  );
  const { text, ...found } = compare(shares, 1.3, 'at most', ' ×');
  return {
    work: result.title,
    against: 'one round trip + one commit',
    goal: '≤ 1.3 ×',
    found: { text: `${text}: ${number(median(turns))} ms`, ...found },
  };
}

function handOverGoals({ delays }: Results): Goal[] {
  const result = delays.find(({ workload }) => workload === 'handover');
  const ours = result?.rounds.locker;
  if (result === undefined || ours === undefined) return [];
  const medians = (rounds: readonly (readonly number[])[]): number[] => rounds.map(median);
  const against = (puts: readonly (readonly number[])[]): Goal['found'] =>
    compare(ratios(medians(ours), medians(puts)), 4, 'at most', ' ×');
  const longest = quantile(ours.flat(), 1);
  return [
    { work: result.title, against: 'a raw put at the same pace', goal: '≤ 4 ×', found: against(result.rounds.floor ?? []) },
    { work: result.title, against: 'raw puts in a row', goal: '≤ 4 ×', found: against(result.putsAtOnce) },
    {
      work: result.title,
      against: 'the longest',
      goal: 'no tail at 100 ms',
      found: { text: `${number(longest)} ms`, verdict: longest < 100 ? 'met' : 'missed' },
    },
  ];
}

function waitingGoal({ queues }: Results): Goal | null {
  const longest = queues.at(-1);
  const rounds = longest?.rounds.locker;
  if (longest === undefined || rounds === undefined) return null;
  const most = Math.max(...rounds.map(({ callsWhileWaiting }) => callsWhileWaiting));
  return {
    work: `${number(longest.waiters)} wait, no renewal is due`,
    against: 'unary calls in 3 s',
    goal: 'none',
    found: { text: String(most), verdict: most === 0 ? 'met' : 'missed' },
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
        found: {
          text: `${number(perLock.heap)} bytes`,
          verdict: perLock.heap < 2_048 ? 'met' : 'missed',
          missedBy: perLock.heap / 2_048 - 1,
        },
      },
      {
        work: `${number(locks)} locks held`,
        against: 'leases',
        goal: `≤ ${allowed}`,
        found: { text: String(leases), verdict: leases <= allowed ? 'met' : 'missed' },
      },
    );
  }
  if (imports !== undefined)
    goals.push({
      work: 'import',
      against: 'an empty process',
      goal: '< 15 ms more',
      found: compare(imports.overEmpty, 15, 'at most', ' ms'),
    });
  return goals;
}
