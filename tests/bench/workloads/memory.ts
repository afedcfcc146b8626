/** What a held lock weighs in the process that holds it: after what can be collected was collected. */
import { Crew } from '../crew.ts';
import type { MemoryFigures, MemoryResult, RivalName } from '../results.ts';
import { Stage } from '../stage.ts';
import { runnersOf, turn, type Bench, type Workload } from './workload.ts';

/** A lease and a stream for each: ten thousand of them would take minutes. */
const mostOfEtcd3 = 1_000;

export const memoryWorkload: Workload = {
  name: 'memory',
  nodes: 1,
  async run(bench: Bench) {
    await using stage = await Stage.open(1);
    const result: MemoryResult = {};
    for (const [rival, runner] of runnersOf(bench, ['floor'])) {
      await using crew = new Crew(runner, 1, ['--expose-gc']);
      result[rival] = await turn(stage, crew, { warmUps: 50 }, () => weigh(bench, stage, crew, rival));
    }
    bench.results.memory = result;
  },
};

async function weigh(bench: Bench, stage: Stage, crew: Crew, rival: RivalName): Promise<MemoryFigures> {
  const { heldLocks } = bench.sizes;
  const count = rival === 'etcd3' ? Math.min(heldLocks, mostOfEtcd3) : heldLocks;
  const { before, after } = await crew.first.ask({ do: 'memory', name: `memory-${rival}`, count, atOnce: 128 });
  const leases = await stage.leaseCount();
  await crew.first.ask({ do: 'letGo' });
  return {
    locks: count,
    leases,
    perLock: { heap: (after.heap - before.heap) / count, rss: (after.rss - before.rss) / count },
  };
}
