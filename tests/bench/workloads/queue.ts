/** What a turn costs where many wait: each waiter has its own client and session, and joins again after its turn. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Crew } from '../crew.ts';
import { callsAndMessages, since } from '../metrics.ts';
import type { QueueRound, RivalName } from '../results.ts';
import { Stage } from '../stage.ts';
import { delaysOf, inOrder } from './turns.ts';
import { runnersOf, ttlSeconds, turn, type Bench, type Workload } from './workload.ts';

/** At most so long until all are in the queue. */
const fillMs = 60_000;

/** So long they only wait; longer than the time between two pings of a watch stream. */
const idleMs = 3_000;

export function queueWorkload(name: string, waiters: number): Workload {
  return { name, nodes: 1, run: (bench) => run(bench, name, waiters) };
}

async function run(bench: Bench, workload: string, waiters: number): Promise<void> {
  await using stage = await Stage.open(1);
  await using crews = new AsyncDisposableStack();
  const processes = waiters < 100 ? 2 : 4;
  const teams = runnersOf(bench, ['etcd3', 'floor']).map(([rival, runner]) => ({
    rival,
    crew: crews.use(new Crew(runner, processes)),
    holder: crews.use(new Crew(runner, 1)),
  }));
  const rounds: Partial<Record<RivalName, QueueRound[]>> = {};
  // The first round is not counted.
  for (let index = 0; index <= bench.sizes.queueRounds; index += 1) {
    for (const { rival, crew, holder } of teams) {
      const name = `${workload}-${rival}-${index}`;
      const opening = { clients: waiters / processes };
      const round = await turn(stage, crew, opening, () => work(bench, stage, crew, holder, name, waiters));
      if (index > 0) (rounds[rival] ??= []).push(round);
    }
  }
  bench.results.queues.push({ workload, waiters, rounds });
}

async function work(bench: Bench, stage: Stage, crew: Crew, holder: Crew, name: string, waiters: number): Promise<QueueRound> {
  const windowMs = 2 * bench.sizes.ms;
  await holder.open({ hosts: stage.hosts, clients: 1, sessions: 1, ttlSeconds, warmUps: 1 });
  await holder.first.ask({ do: 'hold', client: 0, name });
  const callers = Array.from({ length: waiters / crew.workers.length }, () => name);
  const looping = crew.loop(
    crew.workers.map(() => callers),
    { what: 'lock', ms: 2 * fillMs, atMost: 1e9, holdMs: 0, withTurns: true },
  );
  looping.catch(() => undefined); // told below
  await stage.queued(name, waiters + 1, fillMs);
  await stage.quiet();
  const before = await stage.counts();
  await sleep(idleMs);
  const [calls, messages] = callsAndMessages(since(before, await stage.counts()).calls);

  const { at } = await holder.first.ask({ do: 'letGo' });
  await sleep(windowMs);
  await crew.stop();
  const turns = inOrder((await looping).map((answer) => answer.turns));
  const counted = turns.filter((one) => one.at <= at + windowMs);
  await holder.close();
  return {
    turnsPerSecond: counted.length / (windowMs / 1_000),
    delays: delaysOf([{ at, until: at, owner: -1 }, ...counted], () => true),
    callsWhileWaiting: calls,
    messagesWhileWaiting: messages,
  };
}
