/** Faults of a cluster behind proxies, one after the other. Each one lasts about a second at most. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EtcdCluster, TcpProxy } from '../support/etcd/etcd.ts';

/** Injects faults until `signal` aborts. Each fault is ended before the next. Returns the count of each kind of fault. */
export async function injectFaults(
  cluster: EtcdCluster,
  proxies: readonly TcpProxy[],
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const faults: Record<string, (index: number) => Promise<void>> = {
    async cut(index) {
      await proxies[index]?.cut();
      await sleep(200);
      await proxies[index]?.restore();
    },
    async hang(index) {
      proxies[index]?.hang();
      await sleep(400);
      proxies[index]?.resume();
    },
    async 'responses held back'(index) {
      proxies[index]?.hangResponses();
      await sleep(400);
      proxies[index]?.resume();
    },
    async delay(index) {
      proxies[index]?.delay(20);
      await sleep(400);
      proxies[index]?.delay(0);
    },
    async restart(index) {
      await cluster.members[index]?.kill();
      await cluster.members[index]?.start();
    },
    async freeze(index) {
      await cluster.members[index]?.freeze();
      await sleep(300);
      cluster.members[index]?.thaw();
    },
  };
  const counts: Record<string, number> = {};
  for (let round = 0; !signal.aborted; round += 1) {
    for (const [name, fault] of Object.entries(faults)) {
      await sleep(300);
      await fault((round + Object.keys(counts).length) % proxies.length);
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return counts;
}
