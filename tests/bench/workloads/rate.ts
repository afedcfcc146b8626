/** The rate of an operation: of one caller, of callers on many names, and of callers on one hot name. */
import { WorkerGroup } from '../worker-group.ts';
import { since } from '../metrics.ts';
import type { Operation } from '../protocol.ts';
import type { RivalName, Round } from '../results.ts';
import { BenchServer } from '../bench-server.ts';
import { runnersOf, measureRival, type Bench, type Workload } from './workload.ts';

export interface RateSettings {
  readonly name: string;
  readonly title: string;
  readonly nodes?: 1 | 3;
  readonly operation?: Operation;
  readonly processes?: number;
  /** The callers of each process. */
  readonly callers?: number;
  /** Whether all callers of all processes want the same name. */
  readonly isHot?: boolean;
  /** Whether each caller has its own client. */
  readonly ownClients?: boolean;
  /** Whether all callers of a process but the first share the name. */
  readonly isShared?: boolean;
  readonly holdMs?: number;
  readonly without?: readonly RivalName[];
}

export function rateWorkload(settings: RateSettings): Workload {
  const { name, nodes = 1 } = settings;
  return { name, nodes, run: (bench) => run(bench, settings) };
}

interface RivalRun {
  readonly rival: RivalName;
  readonly group: WorkerGroup;
  readonly callers: number;
  readonly rounds: Round[];
}

async function run(bench: Bench, settings: RateSettings): Promise<void> {
  const { name, title, nodes = 1, processes = 1, callers = 1, isHot = false, without } = settings;
  await using server = await BenchServer.open(nodes);
  await using groups = new AsyncDisposableStack();
  // The floor of a hot name is a single caller without contention.
  const runs = runnersOf(bench, without, isHot ? 'raw-turns' : 'raw').map(([rival, runner]): RivalRun => {
    const isAlone = rival === 'floor' && isHot;
    const group = groups.use(new WorkerGroup(runner, isAlone ? 1 : processes));
    return { rival, group, callers: isAlone ? 1 : callers, rounds: [] };
  });
  for (let round = -1; round < bench.sizes.rounds; round += 1) {
    for (const rivalRun of runs) {
      const result = await measureRound(bench, server, settings, rivalRun, round);
      if (round >= 0) rivalRun.rounds.push(result);
    }
  }
  bench.results.rates.push({ workload: name, title, rounds: Object.fromEntries(runs.map(({ rival, rounds }) => [rival, rounds])) });
}

async function measureRound(bench: Bench, server: BenchServer, settings: RateSettings, rivalRun: RivalRun, round: number): Promise<Round> {
  const { operation = 'lock', isHot = false, ownClients = false, isShared = false, holdMs = 0 } = settings;
  const { rival, group, callers } = rivalRun;
  const { ms, warmUpMs, warmUps, atMost } = bench.sizes;
  const isRead = operation !== 'lock';
  const name = `${settings.name}-${rival}-${round + 1}`;
  const names = group.workers.map((_, process) =>
    Array.from({ length: callers }, (_, caller) => (isHot || isRead ? name : `${name}-${process}-${caller}`)),
  );
  // A second client holds the name that is tried or inspected.
  const clients = isRead ? 2 : ownClients ? callers : 1;
  const opening = { clients, sessions: isHot ? callers / clients : 1, warmUps: round < 0 ? warmUps : 5 };
  return measureRival(server, group, opening, async () => {
    if (isRead) await group.first.ask({ do: 'hold', client: 1, name });
    const before = await server.counts();
    const answers = await group.loop(names, { operation, ms: round < 0 ? warmUpMs : ms, atMost, holdMs, recordsHolds: false, isShared });
    const { calls, cpuMs: serverCpuMs } = since(before, await server.counts());
    if (isRead) await group.first.ask({ do: 'release' });
    return {
      operations: answers.reduce((sum, { operations }) => sum + operations, 0),
      seconds: Math.max(...answers.map((answer) => answer.ms)) / 1_000,
      cpuMs: answers.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      serverCpuMs,
      calls,
    };
  });
}
