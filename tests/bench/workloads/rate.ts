/** How often a rival does something in a second: alone, on many names at once, on one hot name. */
import { Crew } from '../crew.ts';
import { since } from '../metrics.ts';
import type { What } from '../protocol.ts';
import type { RivalName, Round } from '../results.ts';
import { Stage } from '../stage.ts';
import { runnersOf, turn, type Bench, type Workload } from './workload.ts';

export interface RateSettings {
  readonly name: string;
  readonly title: string;
  readonly nodes?: 1 | 3;
  readonly what?: What;
  readonly processes?: number;
  /** In each process. */
  readonly callers?: number;
  /** Whether all callers of all processes want the same name. */
  readonly isHot?: boolean;
  /** Whether each caller of a process has a client of its own. */
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

interface Team {
  readonly rival: RivalName;
  readonly crew: Crew;
  readonly callers: number;
  readonly rounds: Round[];
}

async function run(bench: Bench, settings: RateSettings): Promise<void> {
  const { name, title, nodes = 1, processes = 1, callers = 1, isHot = false, without } = settings;
  await using stage = await Stage.open(nodes);
  await using crews = new AsyncDisposableStack();
  // The floor of a hot name is one caller whom nobody else bothers.
  const teams = runnersOf(bench, without, isHot ? 'raw-turns' : 'raw').map(([rival, runner]): Team => {
    const isAlone = rival === 'floor' && isHot;
    const crew = crews.use(new Crew(runner, isAlone ? 1 : processes));
    return { rival, crew, callers: isAlone ? 1 : callers, rounds: [] };
  });
  for (let round = -1; round < bench.sizes.rounds; round += 1) {
    for (const team of teams) {
      const result = await takeTurn(bench, stage, settings, team, round);
      if (round >= 0) team.rounds.push(result);
    }
  }
  bench.results.rates.push({ workload: name, title, rounds: Object.fromEntries(teams.map(({ rival, rounds }) => [rival, rounds])) });
}

async function takeTurn(bench: Bench, stage: Stage, settings: RateSettings, team: Team, round: number): Promise<Round> {
  const { what = 'lock', isHot = false, ownClients = false, isShared = false, holdMs = 0 } = settings;
  const { rival, crew, callers } = team;
  const { ms, warmUpMs, warmUps, atMost } = bench.sizes;
  const isAsking = what !== 'lock';
  const name = `${settings.name}-${rival}-${round + 1}`;
  const names = crew.workers.map((_, process) =>
    Array.from({ length: callers }, (_, caller) => (isHot || isAsking ? name : `${name}-${process}-${caller}`)),
  );
  // Somebody else holds what is tried or looked at: for the library a locker of its own.
  const clients = isAsking ? 2 : ownClients ? callers : 1;
  const opening = { clients, sessions: isHot ? callers / clients : 1, warmUps: round < 0 ? warmUps : 5 };
  return turn(stage, crew, opening, async () => {
    if (isAsking) await crew.first.ask({ do: 'hold', client: 1, name });
    const before = await stage.counts();
    const answers = await crew.loop(names, { what, ms: round < 0 ? warmUpMs : ms, atMost, holdMs, withTurns: false, isShared });
    const { calls, cpuMs: serverCpuMs } = since(before, await stage.counts());
    if (isAsking) await crew.first.ask({ do: 'letGo' });
    return {
      operations: answers.reduce((sum, { operations }) => sum + operations, 0),
      seconds: Math.max(...answers.map((answer) => answer.ms)) / 1_000,
      cpuMs: answers.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      serverCpuMs,
      calls,
    };
  });
}
