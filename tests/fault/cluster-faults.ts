/** Faults of members and of their network, one after the other, in an order that a seed decides. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Prng } from '../simulation/prng.ts';
import type { EtcdMember, TcpProxy } from '../support/etcd/etcd.ts';
import { restoreCluster, type Scenario } from './scenario.ts';

type Fault = readonly [what: string, inject: (ms: number) => Promise<void>, mostMs: number];

export class ClusterFaults {
  readonly #scenario: Scenario;
  readonly #proxies: readonly TcpProxy[];
  readonly #prng: Prng;
  readonly #faults: readonly Fault[];
  /** The faults that have not occurred in this round. */
  #remaining: readonly Fault[] = [];

  constructor(scenario: Scenario, proxies: readonly TcpProxy[], random: Prng) {
    this.#scenario = scenario;
    this.#proxies = proxies;
    this.#prng = random;
    const [all, one] = [proxies, () => this.#pick(proxies)];
    this.#faults = [
      ['member killed', (ms) => this.#killed([this.#member], ms), 2_000],
      ['leader killed', async (ms) => this.#killed([await this.#leader], ms), 2_000],
      ['follower frozen', async (ms) => this.#frozen([this.#pick(await this.#followers)], ms), 5_000],
      // Shorter than a TTL, because a leader that wakes later may revoke live leases (docs/guarantees.md, 2).
      ['leader frozen', async (ms) => this.#frozen([await this.#leader], ms), 1_500],
      ['all frozen', (ms) => this.#frozen(scenario.cluster.members, ms), 4_000],
      ['member cut off', (ms) => this.#cutOff(this.#member, ms), 4_000],
      ['leader cut off', async (ms) => this.#cutOff(await this.#leader, ms), 4_000],
      ['connections cut', (ms) => this.#cut([one()], ms), 2_000],
      ['all connections cut', (ms) => this.#cut(all, ms), 2_000],
      ['requests hang', (ms) => this.#hang(one(), ms), 4_000],
      ['requests delayed', (ms) => this.#requestsLate(one(), ms), 3_000],
      ['responses delayed', (ms) => this.#answers([one()], ms, false), 3_000],
      ['responses lost', (ms) => this.#answers([one()], ms, true), 2_000],
      ['all responses lost', (ms) => this.#answers(all, ms, true), 2_000],
      ['network slow', (ms) => this.#slow(ms), 3_000],
      ['history compacted', () => scenario.stage.etcd.compact(), 0],
      ['member defragmented', () => scenario.stage.etcd.defragment(this.#member.endpoint), 0],
    ];
  }

  /** Whether every fault has occurred equally often. */
  get isRoundComplete(): boolean {
    return this.#remaining.length === 0;
  }

  /** Injects the next fault, ends it after its duration, and pauses. */
  async next(): Promise<void> {
    if (this.#remaining.length === 0) this.#remaining = this.#faults;
    const chosen = this.#pick(this.#remaining);
    this.#remaining = this.#remaining.filter((one) => one !== chosen);
    const [what, inject, mostMs] = chosen;
    const ms = this.#prng.between(100, Math.max(100, mostMs));
    await this.#scenario.fault(what, 'cluster', () => inject(ms));
    await sleep(this.#prng.between(0, 800));
  }

  #pick<T>(list: readonly T[]): T {
    const chosen = this.#prng.choose(list);
    if (chosen === undefined) throw new RangeError('Cannot pick from an empty list');
    return chosen;
  }

  get #member(): EtcdMember {
    return this.#pick(this.#scenario.cluster.members);
  }

  get #leader(): Promise<EtcdMember> {
    return this.#scenario.cluster.leader();
  }

  get #followers(): Promise<EtcdMember[]> {
    return this.#leader.then((leader) => this.#scenario.cluster.members.filter((member) => member !== leader));
  }

  async #killed(members: readonly EtcdMember[], ms: number): Promise<void> {
    await Promise.all(members.map((member) => member.kill()));
    await sleep(ms);
    await restoreCluster(this.#scenario.cluster);
  }

  async #frozen(members: readonly EtcdMember[], ms: number): Promise<void> {
    await Promise.all(members.map((member) => member.freeze()));
    await sleep(ms);
    for (const member of members) member.thaw();
  }

  async #cutOff(member: EtcdMember, ms: number): Promise<void> {
    await this.#scenario.cluster.isolate(member);
    await sleep(ms);
    this.#scenario.cluster.rejoin();
  }

  async #cut(proxies: readonly TcpProxy[], ms: number): Promise<void> {
    for (const proxy of proxies) await proxy.cut();
    await sleep(ms);
    for (const proxy of proxies) await proxy.restore();
  }

  async #hang(proxy: TcpProxy, ms: number): Promise<void> {
    proxy.hang();
    await sleep(ms);
    proxy.resume();
  }

  async #requestsLate(proxy: TcpProxy, ms: number): Promise<void> {
    proxy.hangRequests();
    await sleep(ms);
    proxy.resume();
  }

  async #answers(proxies: readonly TcpProxy[], ms: number, areLost: boolean): Promise<void> {
    for (const proxy of proxies) proxy.hangResponses();
    await sleep(ms);
    for (const proxy of proxies) {
      if (areLost) await proxy.cut();
      proxy.resume();
      await proxy.restore();
    }
  }

  async #slow(ms: number): Promise<void> {
    const delayMs = this.#prng.between(10, 150);
    for (const proxy of this.#proxies) proxy.delay(delayMs);
    await sleep(ms);
    for (const proxy of this.#proxies) proxy.delay(0);
  }
}
