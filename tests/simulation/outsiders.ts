/** Others at the same etcd: `etcdctl lock` in the queue, operators who delete keys and revoke leases. */
import { byCreateRevision, queueRange } from '../../src/keys.ts';
import type { FaultKind } from './faults.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

export class Outsiders {
  readonly #world: World;
  readonly #prng: Prng;
  #count = 0;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  start(): void {
    this.#often('foreign', 2_500, (prng) => {
      this.#enqueue(prng);
    });
    this.#often('deletedEntry', 2_500, (prng) => {
      const found = prng.choose(this.#world.record.entries(prng.pick(this.#world.scenario.names)));
      if (found !== undefined) this.#delete(found.key);
    });
    this.#often('deletedGate', 6_000, (prng) => {
      const gate = prng.choose(this.#keys('locks/@sessions/', 'locks/@sessions0'));
      if (gate !== undefined) this.#delete(gate);
    });
    this.#often('revokedLease', 6_000, (prng) => {
      const leaseId = prng.choose(this.#world.etcd.leaseIds);
      if (leaseId === undefined) return;
      this.#world.history.tell('operator', () => `revokes ${leaseId}`);
      this.#world.record.byOutsider(() => {
        this.#world.etcd.revoke(leaseId);
      });
    });
  }

  #often(kind: FaultKind, meanMs: number, act: (prng: Prng) => void): void {
    const { scheduler, faults } = this.#world;
    const prng = this.#prng.fork(kind);
    const next = (): void => {
      scheduler.after(-Math.log(1 - prng.next()) * meanMs, () => {
        if (faults.isOver) return;
        if (faults.strikes(kind, prng, 1)) act(prng);
        next();
      });
    };
    next();
  }

  /** A key as `etcdctl lock` writes it, which goes when it has held for a while or when its lease ends. */
  #enqueue(prng: Prng): void {
    const { etcd, scheduler, history, scenario, record } = this.#world;
    const name = prng.pick(scenario.names);
    const id = String(1_000_000 + ++this.#count);
    const key = `${queueRange('locks/', name).key}${BigInt(id).toString(16)}`;
    const holdMs = prng.skewed(1, 2_000);
    history.tell('etcdctl', () => `enqueues ${key}`);
    etcd.grant(id, prng.integer(1, 4));
    etcd.commit({ compare: [], then: [{ put: { key, value: '', leaseId: id } }], otherwise: [] });
    const stop = record.onChange(() => {
      if (record.entries(name)[0]?.key !== key) return;
      stop();
      scheduler.after(holdMs, () => {
        etcd.revoke(id);
      });
    });
    if (record.entries(name)[0]?.key === key)
      scheduler.after(holdMs, () => {
        etcd.revoke(id);
      });
  }

  #delete(key: string): void {
    this.#world.history.tell('operator', () => `deletes ${key}`);
    this.#world.record.byOutsider(() => {
      this.#world.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
    });
  }

  #keys(key: string, rangeEnd: string): string[] {
    const { ranges } = this.#world.etcd.commit({ compare: [], then: [{ range: { key, rangeEnd } }], otherwise: [] });
    // Not in the order of the keys: it hangs on the lease ids, which differ each time.
    return [...(ranges[0] ?? [])].sort(byCreateRevision).map((kv) => kv.key);
  }
}
