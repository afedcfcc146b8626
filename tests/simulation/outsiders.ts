/** Other clients of the same etcd: `etcdctl lock` in the queue, and operators that delete keys and revoke leases. */
import { byCreateRevision, gateKey, queueRange } from '../../src/keys.ts';
import type { FaultKind } from './faults.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

export class Outsiders {
  readonly #world: World;
  readonly #prng: Prng;
  /** A separate stream, so that these draws do not shift the others. */
  readonly #thefts: Prng;
  #count = 0;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#thefts = prng.fork('thefts');
    this.#prng = prng;
  }

  start(): void {
    this.#repeat('foreign', 2_500, (prng) => {
      this.#enqueue(prng);
    });
    this.#repeat('deletedEntry', 2_500, (prng) => {
      const name = prng.pick(this.#world.scenario.names);
      if (this.#thefts.chance(0.2)) {
        rob(this.#world, name, this.#thefts);
        return;
      }
      const found = prng.choose(this.#world.record.entries(name));
      // Half of the time as breakLock() does.
      if (found !== undefined) this.#delete(found.key, prng.next() < 0.5 ? gateKey('locks/', found.leaseId) : undefined);
    });
    this.#repeat('deletedGate', 6_000, (prng) => {
      const gate = prng.choose(this.#keys('locks/@sessions/', 'locks/@sessions0'));
      if (gate !== undefined) this.#delete(gate);
    });
    this.#repeat('revokedLease', 6_000, (prng) => {
      const leaseId = prng.choose(this.#world.etcd.leaseIds);
      if (leaseId === undefined) return;
      this.#world.history.add('operator', () => `revokes ${leaseId}`);
      this.#world.record.asOutsider(() => {
        this.#world.etcd.revoke(leaseId);
      });
    });
  }

  #repeat(kind: FaultKind, meanMs: number, act: (prng: Prng) => void): void {
    const { scheduler, faults } = this.#world;
    const prng = this.#prng.fork(kind);
    const next = (): void => {
      scheduler.after(-Math.log(1 - prng.next()) * meanMs, () => {
        if (faults.isOver) return;
        if (faults.occurs(kind, prng, 1)) act(prng);
        next();
      });
    };
    next();
  }

  /** Creates a key like that of `etcdctl lock`. The key is deleted after a hold, or when its lease expires. */
  #enqueue(prng: Prng): void {
    const { etcd, scheduler, history, scenario, record } = this.#world;
    const name = prng.pick(scenario.names);
    const id = String(1_000_000 + ++this.#count);
    const key = `${queueRange('locks/', name).key}${BigInt(id).toString(16)}`;
    const holdMs = prng.skewed(1, 2_000);
    history.add('etcdctl', () => `enqueues ${key}`);
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

  /** Deletes a key, and touches a gate if it is there. */
  #delete(key: string, gate?: string): void {
    const { etcd, history, record } = this.#world;
    const touches = gate === undefined ? [] : this.#keys(gate, `${gate}\0`).map((one) => ({ touch: { key: one } }));
    history.add('operator', () => (touches.length > 0 ? `breaks ${key}` : `deletes ${key}`));
    record.asOutsider(() => {
      etcd.commit({ compare: [], then: [{ delete: { key } }, ...touches], otherwise: [] });
    });
  }

  #keys(key: string, rangeEnd: string): string[] {
    const { ranges } = this.#world.etcd.commit({ compare: [], then: [{ range: { key, rangeEnd } }], otherwise: [] });
    // Sorted by revision, because the order of the keys depends on lease ids, which differ in each run.
    return [...(ranges[0] ?? [])].sort(byCreateRevision).map((kv) => kv.key);
  }
}

/** Deletes all entries of a name and creates one, in one revision, as a thief does. */
export function rob({ etcd, history, record, scheduler }: World, name: string, prng: Prng): void {
  const id = String(2_000_000n + record.revision);
  const { key, rangeEnd } = queueRange('locks/', name);
  const entry = { key: `${key}${BigInt(id).toString(16)}`, value: '', leaseId: id };
  history.add('thief', () => `robs ${name}`);
  etcd.grant(id, 2);
  record.asOutsider(() => {
    const clearing = [{ delete: { key, rangeEnd: entry.key } }, { delete: { key: `${entry.key}\0`, rangeEnd } }];
    etcd.commit({ compare: [], then: [...clearing, { put: entry }], otherwise: [] });
  });
  scheduler.after(prng.skewed(1, 500), () => {
    etcd.revoke(id);
  });
}
