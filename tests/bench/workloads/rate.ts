/** The rate of an operation: of one caller, of callers on many names, of callers on one hot name, and of kept locks. */
import { startDelayProxy, type DelayProxy } from '../delay-proxy/start.ts';
import { WorkerGroup } from '../worker-group.ts';
import { since } from '../metrics.ts';
import type { Operation } from '../protocol.ts';
import type { RivalName, Round, TurnLimit } from '../results.ts';
import { median } from '../statistics.ts';
import { BenchServer } from '../bench-server.ts';
import { inTurn, runnersOf, measureRival, type Bench, type Replaced, type Workload } from './workload.ts';

export interface RateSettings {
  readonly name: string;
  readonly title: string;
  readonly rivals: readonly RivalName[];
  readonly isMain?: boolean;
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
  /** All rivals reach etcd through a proxy that delays by this time, each way. */
  readonly delayMs?: number;
  /** This library keeps its locks, and holds each name once before the clock starts. The caller takes this number of names in rotation. */
  readonly kept?: number;
}

export function rateWorkload(settings: RateSettings): Workload {
  const { name, nodes = 1, isMain = false } = settings;
  return { name, nodes, isMain, run: (bench) => run(bench, settings) };
}

interface Rival {
  readonly rival: RivalName;
  readonly group: WorkerGroup;
  readonly callers: number;
  readonly rounds: Round[];
}

/** The time in which the callers behind the proxy lock the name before the clock starts. */
export const leadInMs = 200;

/** What all rivals of a workload share. */
interface Course {
  readonly bench: Bench;
  readonly server: BenchServer;
  readonly hosts: readonly string[];
  readonly settings: RateSettings;
}

async function run(bench: Bench, settings: RateSettings): Promise<void> {
  const { name, title, nodes = 1, delayMs } = settings;
  await using server = await BenchServer.open(bench.etcd, nodes);
  await using opened = new AsyncDisposableStack();
  const proxy = delayMs === undefined ? undefined : opened.use(await startDelayProxy(server.hosts, delayMs));
  const course: Course = { bench, server, hosts: proxy?.endpoints ?? server.hosts, settings };
  const rivals = rivalsOf(bench, settings, opened);
  const puts = opened.use(new WorkerGroup({ node: 'raw' }, 1));
  const limits: TurnLimit[] = [];
  // The first round warms up, and is not counted.
  for (let round = -1; round < bench.sizes.rounds; round += 1) {
    const limit = proxy && (await measureLimit(course, proxy, puts));
    if (round >= 0 && limit !== undefined) limits.push(limit);
    for (const rival of inTurn(rivals, round)) {
      const result = await measureRound(course, rival, round);
      if (round >= 0) rival.rounds.push(result);
    }
  }
  const rounds = Object.fromEntries(rivals.map(({ rival, rounds }) => [rival, rounds]));
  bench.results.rates.push({ workload: name, title, rounds, ...(proxy === undefined ? {} : { limits }) });
}

function rivalsOf(bench: Bench, { rivals, processes = 1, callers = 1, isHot, kept }: RateSettings, opened: AsyncDisposableStack): Rival[] {
  const replaced: Replaced = {
    // The floor of a hot name is a single caller without contention.
    ...(isHot === true ? { floor: { node: 'raw-turns' } } : {}),
    ...(kept === undefined ? {} : { locker: { node: 'kept' } }),
  };
  return runnersOf(bench, rivals, replaced).map(([rival, runner]): Rival => {
    const isAlone = rival === 'floor' && isHot === true;
    const group = opened.use(new WorkerGroup(runner, isAlone ? 1 : processes));
    return { rival, group, callers: isAlone ? 1 : callers, rounds: [] };
  });
}

/** Measures what a hand-over by a server costs at least: one round trip and one commit. */
async function measureLimit({ server, hosts }: Course, proxy: DelayProxy, puts: WorkerGroup): Promise<TurnLimit> {
  const addedMs = median(await proxy.measure(30));
  return measureRival(server, puts, { hosts, warmUps: 5 }, async () => {
    const times = async (isRead: boolean): Promise<number> =>
      median((await puts.first.ask({ do: 'put', name: 'limit', times: 30, pauseMs: 0, isRead })).ms);
    return { addedMs, putMs: await times(false), roundTripMs: await times(true) };
  });
}

async function measureRound({ bench, server, hosts, settings }: Course, { rival, group, callers }: Rival, round: number): Promise<Round> {
  const { operation = 'lock', isHot = false, ownClients = false, isShared = false, holdMs = 0, kept } = settings;
  const { warmUps } = bench.sizes;
  const isTry = operation === 'try';
  const name = `${settings.name}-${rival}-${round + 1}`;
  const names = group.workers.map((_, process) =>
    Array.from({ length: callers }, (_, caller) => (isHot || isTry ? name : `${name}-${process}-${caller}`)),
  );
  // A second client holds the name that is tried.
  const clients = isTry ? 2 : ownClients ? callers : 1;
  const isSlow = settings.delayMs !== undefined;
  const opening = {
    hosts,
    clients,
    sessions: isHot ? callers / clients : 1,
    warmUps: round < 0 && !isSlow ? Math.ceil(warmUps / clients) : 3,
  };
  const loop = { operation, holdMs, recordsHolds: false, isShared, atMost: 1e9 };
  return measureRival(server, group, opening, async () => {
    if (isTry) await group.first.ask({ do: 'hold', client: 1, name });
    if (kept !== undefined && rival === 'locker') await takeEachOnce(server, group, names, kept);
    // The first turns of a client open its streams, which takes several round trips.
    if (settings.delayMs !== undefined) await group.loop(names, { ...loop, ms: leadInMs });
    const before = await server.counts();
    const answers = await group.loop(names, {
      ...loop,
      ms: msOf(bench, settings, rival, round),
      ...(kept === undefined ? {} : { rotation: kept }),
    });
    const { calls, cpuMs: serverCpuMs } = since(before, await server.counts());
    if (isTry) await group.first.ask({ do: 'release' });
    return {
      operations: answers.reduce((sum, { operations }) => sum + operations, 0),
      seconds: Math.max(...answers.map((answer) => answer.ms)) / 1_000,
      cpuMs: answers.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
      serverCpuMs,
      calls,
    };
  });
}

function msOf({ sizes }: Bench, { isHot = false, holdMs = 0, delayMs = 0 }: RateSettings, rival: RivalName, round: number): number {
  const isWarmUp = round < 0 && rival !== 'go' && rival !== 'go37';
  if (isWarmUp) return sizes.warmUpMs;
  if (delayMs >= longDelayMs) return 2 * sizes.hotMs;
  return isHot || holdMs > 0 ? sizes.hotMs : sizes.ms;
}

/** With this delay, a turn takes so long that a round needs twice the time. */
const longDelayMs = 5;

/** A kept name is watched from its release on, and needs one look behind it. After this time without a call, all looks are done. */
const quietMs = 150;

/** Holds each name of the rotation once, all at the same time, and waits until all of them are kept. */
async function takeEachOnce(
  server: BenchServer,
  group: WorkerGroup,
  names: readonly (readonly string[])[],
  rotation: number,
): Promise<void> {
  const all = names.map((callers) => callers.flatMap((name) => Array.from({ length: rotation }, (_, index) => `${name}-${index}`)));
  await group.loop(all, { operation: 'lock', ms: 60_000, atMost: rotation, holdMs: 0, recordsHolds: false });
  await server.waitUntilQuiet(quietMs);
}
