/** The store port on a MemoryEtcd: the same answers as etcd's, one turn of the microtask queue later. */
import { type Clock, systemClock } from '../../clock.ts';
import type { Committed, Renewal, Store, Transaction, WatchListener, WatchRequest } from '../store.ts';
import { MemoryEtcd } from './memory-etcd.ts';

export interface MemoryStoreOptions {
  /** What the leases and the lockers on this store go by; tests inject a manual one. */
  readonly clock?: Clock;
}

/**
 * A store for tests: lockers that share it exclude each other as they would on one etcd cluster.
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
    // What is told comes in the order in which it happened, but never before the caller's own turn has ended.
    const later = (tell: () => void): void => {
      queueMicrotask(() => {
        if (!isOver) tell();
      });
    };
    const stop = this.#etcd.watch(request, (events) => {
      later(() => {
        listener.events(events);
      });
    });
    const { revision } = this.#etcd;
    later(() => {
      listener.created(revision);
    });
    return () => {
      isOver = true;
      stop();
    };
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
