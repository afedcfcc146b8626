/**
 * The store port on a `MemoryEtcd`, for tests without a server. It gives the same results as etcd, one microtask later.
 *
 * Read `memory-etcd.ts` next: it has the semantics of etcd. `memoryStore()` in ../../testing adds the faults that tests cause.
 */
import type { Clock } from '../../clock.ts';
import { runInMicrotask } from '../../microtask.ts';
import type { Committed, Renewal, Store, Transaction, WatchEvent, WatchListener, WatchRequest } from '../store.ts';
import type { MemoryEtcd } from './memory-etcd.ts';

export class MemoryEtcdStore implements Store {
  readonly clock: Clock;
  readonly #etcd: MemoryEtcd;

  constructor(etcd: MemoryEtcd, clock: Clock) {
    this.#etcd = etcd;
    this.clock = clock;
  }

  async grant(leaseId: string, ttlSeconds: number): Promise<number> {
    await Promise.resolve();
    this.#etcd.grant(leaseId, ttlSeconds);
    return ttlSeconds;
  }

  async renew(leaseId: string, gateKey: string): Promise<Renewal> {
    await Promise.resolve();
    const renewed = this.#etcd.renew(leaseId);
    const { ranges } = this.#etcd.commit({ compare: [], then: [{ range: { key: gateKey } }], otherwise: [] });
    return { renewed, gate: ranges[0]?.[0] ?? null };
  }

  async leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    await Promise.resolve();
    return this.#etcd.leaseKeys(leaseId);
  }

  async leaseRemainingMs(leaseId: string): Promise<number | null> {
    await Promise.resolve();
    return this.#etcd.leaseRemainingMs(leaseId);
  }

  async revoke(leaseId: string): Promise<void> {
    await Promise.resolve();
    this.#etcd.revoke(leaseId);
  }

  async commit(transaction: Transaction): Promise<Committed> {
    await Promise.resolve();
    return this.#etcd.commit(transaction);
  }

  watch(request: WatchRequest, listener: WatchListener): () => void {
    let isOver = false;
    // Keeps the order of the events, and never calls the listener before `watch` has returned.
    const later = (notify: () => void): void => {
      runInMicrotask(() => {
        if (!isOver) notify();
      });
    };
    const confirm = (): void => {
      const { revision } = this.#etcd;
      later(() => {
        listener.created(revision);
      });
    };
    const deliver = (events: readonly WatchEvent[]): void => {
      later(() => {
        listener.events(events);
      });
    };
    const stop = this.#etcd.watch(request, deliver, confirm);
    confirm();
    return () => {
      isOver = true;
      stop();
    };
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
