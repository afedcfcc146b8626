/**
 * The store of tests without a server: an etcd in memory, with the faults and the operator that a test needs.
 *
 * Read `connection.ts` for the faults, and ../store/memory for the semantics of etcd.
 */
import { type Clock, systemClock } from '../clock.ts';
import { gateKey, nameOf, queueRange } from '../keys.ts';
import { describeQueue } from '../states/state.ts';
import { MemoryEtcd } from '../store/memory/memory-etcd.ts';
import { MemoryEtcdStore } from '../store/memory/memory-store.ts';
import type {
  CommitOptions,
  Committed,
  KeyValue,
  Renewal,
  Silence,
  Store,
  Transaction,
  WatchListener,
  WatchRequest,
} from '../store/store.ts';
import { quote } from '../text.ts';
import { Connection } from './connection.ts';

/** The options of `memoryStore()`. */
export interface MemoryStoreOptions {
  /** The clock of the leases and of the lockers on this store. Default: the system's clock. */
  readonly clock?: Clock | undefined;
  /**
   * The `prefix` of the lockers whose names `drop()` and `expire()` take. Default: any prefix that ends with a slash.
   */
  readonly prefix?: string | undefined;
}

/** A store in memory. Its methods cause the faults that code under locks has to survive. */
export interface MemoryStore extends Store {
  /**
   * The time in milliseconds that each response and each event takes, on the store's clock. A response that takes longer than the
   * time limit of its request is lost.
   *
   * @default 0
   */
  delayMs: number;
  /**
   * Cuts the connection, as when no host of etcd can be reached. Requests get no response and fail at their time limits, watches
   * report nothing. The servers stay alive: leases that are not renewed expire, so locks are lost at their deadline.
   *
   * @example
   * store.goDown()
   * await clock.advance(15_000)
   * lock.held // false
   */
  goDown(): void;
  /** Restores the connection. Requests that still wait get their response, and watches are created again. */
  goUp(): void;
  /**
   * Deletes the entries of the holders of `name`, as an operator does. Their locks are lost with the reason `deleted`: at once, or up to
   * a second later if the locker has just checked its keys.
   *
   * @throws {Error} nobody holds `name`
   *
   * @example
   * store.drop('orders/42')
   * await clock.advance(1_000)
   * lock.held // false
   */
  drop(name: string): void;
  /**
   * Ends the leases of the holders of `name`, as if they were not renewed in time. The other locks of those leases are lost too: one
   * locker has one lease for most of its locks.
   *
   * @throws {Error} nobody holds `name`
   *
   * @example
   * store.expire('orders/42')
   * await clock.settle()
   * lock.held // false
   */
  expire(name: string): void;
}

/**
 * Creates a store for tests. Lockers that share it exclude each other as on one etcd cluster.
 *
 * @param options the clock, and the prefix if it does not end with a slash
 * @example
 * const store = memoryStore()
 * await using one = createLocker({ store })
 * await using other = createLocker({ store })
 */
export function memoryStore({ clock = systemClock, prefix }: MemoryStoreOptions = {}): MemoryStore {
  return new ControlledStore(clock, prefix);
}

class ControlledStore implements MemoryStore {
  readonly clock: Clock;
  readonly #etcd: MemoryEtcd;
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #prefix: string | undefined;

  constructor(clock: Clock, prefix: string | undefined) {
    this.clock = clock;
    this.#etcd = new MemoryEtcd(clock);
    this.#store = new MemoryEtcdStore(this.#etcd, clock);
    this.#connection = new Connection(clock);
    this.#prefix = prefix;
  }

  get delayMs(): number {
    return this.#connection.delayMs;
  }

  set delayMs(delayMs: number) {
    if (!(delayMs >= 0)) throw new RangeError(`Cannot set delayMs: expected a number of at least 0, got ${String(delayMs)}`);
    this.#connection.delayMs = delayMs;
  }

  goDown(): void {
    this.#connection.down();
  }

  goUp(): void {
    this.#connection.up();
  }

  drop(name: string): void {
    const holders = this.#holdersOf(name, 'drop');
    const gates = new Set(holders.map(({ prefix, leaseId }) => gateKey(prefix, leaseId)));
    const standing = this.#etcd.snapshot().kvs.filter(({ key }) => gates.has(key));
    // A touched gate calls for an audit, so the holder notices at once.
    this.#etcd.commit({
      compare: [],
      then: [...holders.map(({ key }) => ({ delete: { key } })), ...standing.map(({ key }) => ({ touch: { key } }))],
      otherwise: [],
    });
  }

  expire(name: string): void {
    for (const { leaseId } of this.#holdersOf(name, 'expire')) this.#etcd.revoke(leaseId);
  }

  grant(leaseId: string, ttlSeconds: number): Promise<number> {
    return this.#connection.request(() => this.#store.grant(leaseId, ttlSeconds));
  }

  renew(leaseId: string, gate: string, timeoutMs: number): Promise<Renewal> {
    return this.#connection.request(() => this.#store.renew(leaseId, gate, timeoutMs), { timeoutMs });
  }

  leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    return this.#connection.request(() => this.#store.leaseKeys(leaseId));
  }

  leaseRemainingMs(leaseId: string): Promise<number | null> {
    return this.#connection.request(() => Promise.resolve(this.#etcd.leaseRemainingMs(leaseId)));
  }

  revoke(leaseId: string): Promise<void> {
    return this.#connection.request(() => this.#store.revoke(leaseId));
  }

  commit(transaction: Transaction, options?: CommitOptions): Promise<Committed> {
    return this.#connection.request(() => this.#store.commit(transaction), options);
  }

  watch(request: WatchRequest, listener: WatchListener): () => void {
    return this.#connection.watch((inner) => this.#store.watch(request, inner), listener);
  }

  silence(): Silence | undefined {
    return this.#connection.silence();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Returns the holders of a name, under each prefix. */
  #holdersOf(name: string, action: string): { readonly prefix: string; readonly key: string; readonly leaseId: string }[] {
    const queues = new Map<string, KeyValue[]>();
    for (const kv of this.#etcd.snapshot().kvs) {
      const prefix = this.#prefix ?? prefixOf(kv.key);
      if (nameOf(prefix, kv.key) === name) queues.set(prefix, [...(queues.get(prefix) ?? []), kv]);
    }
    const holders = [...queues].flatMap(([prefix, entries]) =>
      describeQueue(name, queueRange(prefix, name), entries, this.#etcd.revision).holders.map(({ key, leaseId }) => ({
        prefix,
        key,
        leaseId,
      })),
    );
    if (holders.length === 0) throw new Error(`Cannot ${action} ${quote(name)}: nobody holds it${this.#describeOthers()}`);
    return holders;
  }

  /** A wrong name is mostly a spelling mistake. */
  #describeOthers(): string {
    const names = this.#etcd.snapshot().kvs.map(({ key }) => nameOf(this.#prefix ?? prefixOf(key), key));
    const known = [...new Set(names.filter((name) => name !== undefined))].slice(0, 5);
    return known.length === 0 ? '' : ` (names in use: ${known.map(quote).join(', ')})`;
  }
}

/** Returns what precedes the name in the key of an entry, if the prefix ends with a slash. The name itself has none. */
const prefixOf = (key: string): string => key.slice(0, key.lastIndexOf('/', key.lastIndexOf('/') - 1) + 1);
