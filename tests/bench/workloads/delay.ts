/** How long a release takes to reach another process: the one that waits for the lock, or one that watches it. */
import { Crew } from '../crew.ts';
import type { LoopAnswer } from '../protocol.ts';
import type { DelayResult, RivalName } from '../results.ts';
import { Stage } from '../stage.ts';
import { delaysOf, inOrder } from './turns.ts';
import { runnersOf, turn, type Bench, type Workload } from './workload.ts';

/** As for a piece of work under the lock; long enough for the other process to be in the queue again. */
export const holdMs = 20;

/** One round's delays. */
type Measure = (crew: Crew, name: string, times: number) => Promise<readonly number[]>;

/** Two processes take turns: from release() being called in one until lock() has resolved in the other. */
export function handOverWorkload(name: string, title: string, nodes: 1 | 3): Workload {
  const measure: Measure = async (crew, lockName, times) => {
    const answers = await loop(crew, [[lockName], [lockName]], Math.ceil(times / 2));
    return delaysOf(inOrder(answers.map(({ turns }) => turns)), (from, to) => from.owner !== to.owner);
  };
  return { name, nodes, run: (bench) => run(bench, { workload: name, title }, nodes, ['floor'], measure) };
}

/** One process locks and releases, another watches: from release() being called until it is told that nobody holds. */
export function watchWorkload(name: string, title: string, nodes: 1 | 3): Workload {
  const measure: Measure = async (crew, lockName, times) => {
    const watcher = crew.workers[1];
    await watcher?.ask({ do: 'watch', name: lockName });
    const [answer] = await loop(crew, [[lockName], []], times);
    const { freeAt = [] } = (await watcher?.ask({ do: 'stop' })) ?? {};
    const turns = answer?.turns ?? [];
    return turns.flatMap(({ until }, index) => {
      const before = turns[index + 1]?.at ?? Infinity;
      const seen = freeAt.find((at) => at >= until && at < before);
      return seen === undefined ? [] : [seen - until];
    });
  };
  return { name, nodes, run: (bench) => run(bench, { workload: name, title }, nodes, ['floor', 'go'], measure) };
}

async function run(
  bench: Bench,
  about: Pick<DelayResult, 'workload' | 'title'>,
  nodes: 1 | 3,
  without: readonly RivalName[],
  measure: Measure,
): Promise<void> {
  const { rounds: times, handOvers, warmUps } = bench.sizes;
  await using stage = await Stage.open(nodes);
  await using crews = new AsyncDisposableStack();
  const puts = crews.use(new Crew({ node: 'raw' }, 1));
  const teams = runnersOf(bench, without).map(([rival, runner]) => ({ rival, crew: crews.use(new Crew(runner, 2)), delays: noDelays() }));
  const atPace = noDelays();
  const atOnce = noDelays();
  // The first round is not counted.
  for (let round = 0; round <= times; round += 1) {
    const opening = { warmUps: round === 0 ? warmUps : 5 };
    await turn(stage, puts, opening, async () => {
      // As seldom as the releases, and with nothing between them: a machine that has rested takes longer.
      for (const [delays, pauseMs] of [[atPace, holdMs] as const, [atOnce, 0] as const]) {
        delays.push((await puts.first.ask({ do: 'put', name: 'put', times: handOvers, pauseMs })).ms);
      }
    });
    for (const { rival, crew, delays } of teams) {
      delays.push(await turn(stage, crew, opening, () => measure(crew, `${about.workload}-${rival}-${round}`, handOvers)));
    }
  }
  const rounds = Object.fromEntries(
    [...teams, { rival: 'floor' as const, delays: atPace }].map((team) => [team.rival, team.delays.slice(1)]),
  );
  bench.results.delays.push({ ...about, rounds, putsAtOnce: atOnce.slice(1) });
}

function noDelays(): (readonly number[])[] {
  return [];
}

function loop(crew: Crew, names: readonly (readonly string[])[], atMost: number): Promise<LoopAnswer[]> {
  return crew.loop(names, { what: 'lock', ms: 30_000, atMost, holdMs, withTurns: true });
}
