/** The cost of a hold with many waiters. Each waiter has its own client and session, and enqueues again after its hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkerGroup } from '../worker-group.ts';
import { callsAndMessages, since } from '../metrics.ts';
import type { QueueRound, RivalName } from '../results.ts';
import { BenchServer } from '../bench-server.ts';
import { delaysOf, inOrder } from './turns.ts';
import { inTurn, runnersOf, ttlSeconds, measureRival, type Bench, type Workload } from './workload.ts';

/** The time limit until all waiters are in the queue. */
const fillMs = 60_000;

/** The time in which all callers only wait. It is longer than the interval of the pings of a watch stream. */
const idleMs = 3_000;

export function queueWorkload(name: string, waiters: number): Workload {
  return { name, nodes: 1, run: (bench) => run(bench, name, waiters) };
}

async function run(bench: Bench, workload: string, waiters: number): Promise<void> {
  await using server = await BenchServer.open(bench.etcd, 1);
  await using groups = new AsyncDisposableStack();
  const processes = waiters < 100 ? 2 : 4;
  const runs = runnersOf(bench, ['locker', 'go']).map(([rival, runner]) => ({
    rival,
    group: groups.use(new WorkerGroup(runner, processes)),
    holder: groups.use(new WorkerGroup(runner, 1)),
  }));
  const rounds: Partial<Record<RivalName, QueueRound[]>> = {};
  // The first round is a warm-up.
  for (let index = 0; index <= bench.sizes.queueRounds; index += 1) {
    for (const { rival, group, holder } of inTurn(runs, index)) {
      const name = `${workload}-${rival}-${index}`;
      const opening = { clients: waiters / processes };
      const round = await measureRival(server, group, opening, () =>
        work(bench, server, group, holder, { name, waiters, idleMs: index > 0 ? idleMs : 0 }),
      );
      if (index > 0) (rounds[rival] ??= []).push(round);
    }
  }
  bench.results.queues.push({ workload, waiters, rounds });
}

async function work(
  bench: Bench,
  server: BenchServer,
  group: WorkerGroup,
  holder: WorkerGroup,
  { name, waiters, idleMs }: { readonly name: string; readonly waiters: number; readonly idleMs: number },
): Promise<QueueRound> {
  const windowMs = 2 * bench.sizes.hotMs;
  await holder.open({ hosts: server.hosts, clients: 1, sessions: 1, ttlSeconds, warmUps: 1 });
  await holder.first.ask({ do: 'hold', client: 0, name });
  const callers = Array.from({ length: waiters / group.workers.length }, () => name);
  const looping = group.loop(
    group.workers.map(() => callers),
    { operation: 'lock', ms: 2 * fillMs, atMost: 1e9, holdMs: 0, recordsHolds: true },
  );
  looping.catch(() => undefined); // awaited below
  await server.waitForQueue(name, waiters + 1, fillMs);
  await server.waitUntilQuiet();
  const before = await server.counts();
  await sleep(idleMs);
  const [calls, messages] = callsAndMessages(since(before, await server.counts()).calls);

  const { at } = await holder.first.ask({ do: 'release' });
  await sleep(windowMs);
  await group.stop();
  const holds = inOrder((await looping).map((answer) => answer.holds));
  const counted = holds.filter((one) => one.at <= at + windowMs);
  await holder.close();
  return {
    holdsPerSecond: counted.length / (windowMs / 1_000),
    delays: delaysOf([{ at, until: at, owner: -1 }, ...counted], () => true),
    callsWhileWaiting: calls,
    messagesWhileWaiting: messages,
  };
}
