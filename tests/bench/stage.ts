/** The etcd that all rivals of a workload share, waiting for the disk as in earnest; nothing may be left in it between two turns. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { startCluster, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { callsAndMessages, serverCounts, since, type ServerCounts } from './metrics.ts';
import { prefix } from './rivals/client.ts';

export class Stage implements AsyncDisposable {
  readonly server: EtcdServer;
  readonly #client: Etcd3;
  #foreignLeases = new Set<string>();

  private constructor(server: EtcdServer) {
    this.server = server;
    this.#client = new Etcd3({ hosts: [...server.endpoints] });
  }

  static async open(nodes: number): Promise<Stage> {
    const stage = new Stage(nodes === 1 ? await startEtcd({ fsync: true }) : await startCluster(nodes, { fsync: true }));
    stage.#foreignLeases = new Set(await stage.#leases());
    return stage;
  }

  get hosts(): readonly string[] {
    return this.server.endpoints;
  }

  counts(): Promise<ServerCounts> {
    return serverCounts(this.hosts);
  }

  /** Of the bench's own. */
  async leaseCount(): Promise<number> {
    return (await this.#leases()).filter((id) => !this.#foreignLeases.has(id)).length;
  }

  /** Waits until `name` has so many entries in its queue. */
  async queued(name: string, count: number, timeoutMs = 60_000): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs;
    for (;;) {
      const found = await this.#client.getAll().prefix(`${prefix}${name}/`).count();
      if (found >= count) return;
      if (performance.now() > giveUpAt) throw new Error(`Only ${found} of ${count} are in the queue of ${name}`);
      await sleep(20);
    }
  }

  /** Waits until nobody calls any more: who has an entry may still have to look who is before it. */
  async quiet(timeoutMs = 15_000): Promise<void> {
    const giveUpAt = performance.now() + timeoutMs;
    let before = await this.counts();
    for (;;) {
      await sleep(500);
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
      if (performance.now() > giveUpAt) throw new Error(`The turn has left ${keys} keys and ${leases} leases behind`);
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
