/** The memory of a held lock in the holder's process, after a garbage collection. */
import { WorkerGroup } from '../worker-group.ts';
import type { MemoryFigures, MemoryResult, RivalName } from '../results.ts';
import { BenchServer } from '../bench-server.ts';
import { runnersOf, measureRival, type Bench, type Workload } from './workload.ts';

/** etcd3 needs a lease and a stream for each lock, so ten thousand locks would take minutes. */
const maxEtcd3Locks = 1_000;

export const memoryWorkload: Workload = {
  name: 'memory',
  nodes: 1,
  async run(bench: Bench) {
    await using server = await BenchServer.open(bench.etcd, 1);
    const result: MemoryResult = {};
    for (const [rival, runner] of runnersOf(bench, ['locker', 'etcd3', 'go'])) {
      await using group = new WorkerGroup(runner, 1, ['--expose-gc']);
      result[rival] = await measureRival(server, group, { warmUps: 50 }, () => measureMemory(bench, server, group, rival));
    }
    bench.results.memory = result;
  },
};

async function measureMemory(bench: Bench, server: BenchServer, group: WorkerGroup, rival: RivalName): Promise<MemoryFigures> {
  const { heldLocks } = bench.sizes;
  const count = rival === 'etcd3' ? Math.min(heldLocks, maxEtcd3Locks) : heldLocks;
  const { before, after } = await group.first.ask({ do: 'memory', name: `memory-${rival}`, count, atOnce: 128 });
  const leases = await server.leaseCount();
  await group.first.ask({ do: 'release' });
  return {
    locks: count,
    leases,
    perLock: { heap: (after.heap - before.heap) / count, rss: (after.rss - before.rss) / count },
  };
}
