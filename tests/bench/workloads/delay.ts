/** The delay from a release to the next holder in another process, or to a watch in another process. */
import { WorkerGroup } from '../worker-group.ts';
import type { LoopAnswer } from '../protocol.ts';
import type { DelayResult, RivalName } from '../results.ts';
import { BenchServer } from '../bench-server.ts';
import { delaysOf, inOrder } from './turns.ts';
import { inTurn, runnersOf, measureRival, type Bench, type Workload } from './workload.ts';

/** The time of each hold. The other process enqueues again within this time. */
export const holdMs = 20;

/** Measures the delays of one round. */
type Measure = (group: WorkerGroup, name: string, times: number) => Promise<readonly number[]>;

/** Two processes alternate. Measures from the call of release() in one process until lock() resolves in the other. */
export function handOverWorkload(name: string, title: string, rivals: readonly RivalName[], nodes: 1 | 3): Workload {
  const measure: Measure = async (group, lockName, times) => {
    const answers = await loop(group, [[lockName], [lockName]], Math.ceil(times / 2));
    return delaysOf(inOrder(answers.map(({ holds }) => holds)), (from, to) => from.owner !== to.owner);
  };
  return { name, nodes, run: (bench) => run(bench, { workload: name, title }, nodes, rivals, measure) };
}

/** One process locks and releases. Measures from the call of release() until a watch in another process reports the name as free. */
export function watchWorkload(name: string, title: string, nodes: 1 | 3): Workload {
  const measure: Measure = async (group, lockName, times) => {
    const watcher = group.workers[1];
    await watcher?.ask({ do: 'watch', name: lockName });
    const [answer] = await loop(group, [[lockName], []], times);
    const { freeAt = [] } = (await watcher?.ask({ do: 'stop' })) ?? {};
    const holds = answer?.holds ?? [];
    return holds.flatMap(({ until }, index) => {
      const before = holds[index + 1]?.at ?? Infinity;
      const seen = freeAt.find((at) => at >= until && at < before);
      return seen === undefined ? [] : [seen - until];
    });
  };
  return { name, nodes, run: (bench) => run(bench, { workload: name, title }, nodes, ['locker', 'etcd3'], measure) };
}

async function run(
  bench: Bench,
  about: Pick<DelayResult, 'workload' | 'title'>,
  nodes: 1 | 3,
  rivals: readonly RivalName[],
  measure: Measure,
): Promise<void> {
  const { rounds: times, handOvers, warmUps } = bench.sizes;
  await using server = await BenchServer.open(bench.etcd, nodes);
  await using groups = new AsyncDisposableStack();
  const puts = groups.use(new WorkerGroup({ node: 'raw' }, 1));
  const runs = runnersOf(bench, rivals).map(([rival, runner]) => ({
    rival,
    group: groups.use(new WorkerGroup(runner, 2)),
    delays: noDelays(),
  }));
  const atPace = noDelays();
  const atOnce = noDelays();
  // The first round is not counted.
  for (let round = 0; round <= times; round += 1) {
    const opening = { warmUps: round === 0 ? warmUps : 5 };
    await measureRival(server, puts, opening, async () => {
      // Puts with the pauses of the releases, and puts without pauses. A request after an idle time takes longer.
      for (const [delays, pauseMs] of [[atPace, holdMs] as const, [atOnce, 0] as const]) {
        delays.push((await puts.first.ask({ do: 'put', name: 'put', times: handOvers, pauseMs })).ms);
      }
    });
    for (const { rival, group, delays } of inTurn(runs, round)) {
      delays.push(await measureRival(server, group, opening, () => measure(group, `${about.workload}-${rival}-${round}`, handOvers)));
    }
  }
  const rounds = Object.fromEntries([...runs, { rival: 'floor' as const, delays: atPace }].map((one) => [one.rival, one.delays.slice(1)]));
  bench.results.delays.push({ ...about, rounds, putsAtOnce: atOnce.slice(1) });
}

function noDelays(): (readonly number[])[] {
  return [];
}

function loop(group: WorkerGroup, names: readonly (readonly string[])[], atMost: number): Promise<LoopAnswer[]> {
  return group.loop(names, { operation: 'lock', ms: 30_000, atMost, holdMs, recordsHolds: true });
}
