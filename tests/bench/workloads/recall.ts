/** The time that another process needs to lock a name that is kept, compared with a free name. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkerGroup } from '../worker-group.ts';
import { callsAndMessages, since } from '../metrics.ts';
import type { RecallRound } from '../results.ts';
import { BenchServer } from '../bench-server.ts';
import { measureRival, ttlSeconds, type Bench, type Workload } from './workload.ts';

/** Before each lock, the keeper's watch is confirmed, and both processes are idle. */
const pauseMs = 20;

export const recallWorkload: Workload = {
  name: 'recall',
  nodes: 1,
  isMain: true,
  async run(bench: Bench) {
    const { rounds: count, recalls, warmUps } = bench.sizes;
    await using server = await BenchServer.open(bench.etcd, 1);
    await using keeper = new WorkerGroup({ node: 'kept' }, 1);
    await using contender = new WorkerGroup({ node: 'locker' }, 1);
    const rounds: RecallRound[] = [];
    // The first round is not counted.
    for (let round = 0; round <= count; round += 1) {
      const opening = { warmUps: round === 0 ? warmUps : 5 };
      const work = () => measureRound(server, keeper, contender, `recall-${round}`, recalls);
      const result = await measureRival(server, contender, opening, async () => {
        await keeper.open({ hosts: server.hosts, clients: 1, sessions: 1, ttlSeconds, ...opening });
        return work().finally(() => keeper.close());
      });
      if (round > 0) rounds.push(result);
    }
    bench.results.recall = rounds;
  },
};

async function measureRound(
  server: BenchServer,
  keeper: WorkerGroup,
  contender: WorkerGroup,
  name: string,
  recalls: number,
): Promise<RecallRound> {
  const recalled: number[] = [];
  const plain: number[] = [];
  let [calls, messages] = [0, 0];
  for (let index = 0; index < recalls; index += 1) {
    const kept = `${name}-${index}`;
    await keeper.first.ask({ do: 'hold', client: 0, name: kept });
    await keeper.first.ask({ do: 'release' });
    await sleep(pauseMs);
    const before = await server.counts();
    await sleep(pauseMs); // the same pause for both locks
    recalled.push((await contender.first.ask({ do: 'hold', client: 0, name: kept })).ms);
    await sleep(pauseMs); // a look that is under way is counted too
    const counted = since(before, await server.counts()).calls;
    const [some, more] = callsAndMessages(counted);
    [calls, messages] = [calls + some, messages + more];
    await contender.first.ask({ do: 'release' });
    await sleep(pauseMs);
    plain.push((await contender.first.ask({ do: 'hold', client: 0, name: `free-${kept}` })).ms);
    await contender.first.ask({ do: 'release' });
  }
  return { recalled, plain, calls, messages };
}
