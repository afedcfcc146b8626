/**
 * The store port on a `MemoryEtcd`, for tests without a server.
 *
 * It gives the same results as etcd, one microtask later. Read `memory-etcd.ts` next: it has the semantics of etcd.
 */
import { type Clock, systemClock } from '../../clock.ts';
import type { Committed, Renewal, Store, Transaction, WatchEvent, WatchListener, WatchRequest } from '../store.ts';
import { MemoryEtcd } from './memory-etcd.ts';

export interface MemoryStoreOptions {
  /** The clock of the leases and of the lockers on this store. Default: the system's clock. */
  readonly clock?: Clock;
}

/**
 * Creates a store for tests. Lockers that share it exclude each other as on one etcd cluster.
 *
 * @example
 * const store = memoryStore()
 * await using one = createLocker({ store })
 * await using other = createLocker({ store })
 */
export function memoryStore({ clock = systemClock }: MemoryStoreOptions = {}): Store {
  return new MemoryStore(new MemoryEtcd(clock), clock);
}

export class MemoryStore implements Store {
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
      queueMicrotask(() => {
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
