/** The etcd of a workload, which all rivals share. It syncs to disk as in production. Nothing may be left in it between two rounds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { startCluster, startEtcd, type EtcdServer, type EtcdSource } from '../support/etcd/etcd.ts';
import { callsAndMessages, serverCounts, since, type ServerCounts } from './metrics.ts';
import { prefix } from './rivals/client.ts';

export class BenchServer implements AsyncDisposable {
  readonly server: EtcdServer;
  readonly #client: Etcd3;
  #foreignLeases = new Set<string>();

  private constructor(server: EtcdServer) {
    this.server = server;
    this.#client = new Etcd3({ hosts: [...server.endpoints] });
  }

  static async open(source: EtcdSource, nodes: number): Promise<BenchServer> {
    const options = { source, fsync: true };
    const bench = new BenchServer(nodes === 1 ? await startEtcd(options) : await startCluster(nodes, options));
    bench.#foreignLeases = new Set(await bench.#leases());
    return bench;
  }

  get hosts(): readonly string[] {
    return this.server.endpoints;
  }

  counts(): Promise<ServerCounts> {
    return serverCounts(this.hosts);
  }

  /** Returns the number of leases that the bench has made. */
  async leaseCount(): Promise<number> {
    return (await this.#leases()).filter((id) => !this.#foreignLeases.has(id)).length;
  }

  /** Waits until `name` has `count` entries in its queue. */
  async waitForQueue(name: string, count: number, timeoutMs = 60_000): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs;
    for (;;) {
      const found = await this.#client.getAll().prefix(`${prefix}${name}/`).count();
      if (found >= count) return;
      if (performance.now() > giveUpAt) throw new Error(`Cannot measure: only ${found} of ${count} callers are in the queue of ${name}`);
      await sleep(20);
    }
  }

  /** Waits until clients send no more calls for a time. A caller with an entry may still have to read its predecessors. */
  async waitUntilQuiet(quietMs = 500, timeoutMs = 15_000): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs;
    let before = await this.counts();
    for (;;) {
      await sleep(quietMs);
      const after = await this.counts();
      if (callsAndMessages(since(before, after).calls)[0] === 0 || performance.now() > giveUpAt) return;
      before = after;
    }
  }

  async expectNothingLeft(): Promise<void> {
    const giveUpAt = performance.now() + 10_000;
    for (;;) {
      const [keys, leases] = await Promise.all([this.#client.getAll().prefix(prefix).count(), this.leaseCount()]);
      if (keys + leases === 0) return;
      if (performance.now() > giveUpAt) throw new Error(`Cannot accept the round: it left ${keys} keys and ${leases} leases`);
      await sleep(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.server.stop();
  }

  async #leases(): Promise<string[]> {
    return (await this.#client.leaseClient.leaseLeases()).leases.map(({ ID }) => ID);
  }
}
