/**
 * The port to etcd: everything that the layers above read and write goes through it.
 *
 * The port keeps none of the lock's promises. The queue, the session and the heartbeat above it do. A store must report
 * correctly what was sent, what etcd responded, and when the outcome is unknown. Revisions are etcd's: one counter over all keys.
 *
 * This folder has two stores: `etcd/` speaks to a cluster, `memory/` behaves like one for tests. Read this file first, then
 * `memory/memory-etcd.ts` for the semantics, then `etcd/etcd-store.ts` for the real one.
 */
import type { Clock } from '../clock.ts';
import type { HostFailure } from '../errors.ts';

/** A key with its value, as of one revision. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  /** Decimal int64; '0' for a key without a lease. A range with `keysOnly` may leave it out: etcd 3.7 reports '0' there. */
  readonly leaseId: string;
}

/** A condition on one key, or on every key of [key, rangeEnd). A missing key has revision 0. */
export interface Compare {
  readonly key: string;
  readonly rangeEnd?: string | undefined;
  readonly target: 'create' | 'mod';
  readonly op: '=' | '<' | '>';
  readonly revision: bigint;
}

/** A read of one key, or of [key, rangeEnd). The result is in the order of the keys, or of the create revisions (`order`). */
export interface Range {
  readonly key: string;
  readonly rangeEnd?: string | undefined;
  readonly order?: 'oldest' | 'newest' | undefined;
  readonly limit?: number | undefined;
  readonly maxCreateRevision?: bigint | undefined;
  readonly keysOnly?: boolean | undefined;
  /** Reads as of this revision. etcd refuses one that is compacted or not there yet. Default: the present one. */
  readonly revision?: bigint | undefined;
}

/** One step of a transaction. The steps run in order. */
export type Operation =
  | { readonly put: { readonly key: string; readonly value: string; readonly leaseId: string } }
  /** A put of the value and the lease that the key has: only its mod revision changes. etcd refuses it if there is no such key. */
  | { readonly touch: { readonly key: string } }
  /** One key, or all of [key, rangeEnd). */
  | { readonly delete: { readonly key: string; readonly rangeEnd?: string | undefined } }
  | { readonly range: Range };

/** Runs `then` if every compare holds, else `otherwise`. It is atomic and linearizable. */
export interface Transaction {
  readonly compare: readonly Compare[];
  readonly then: readonly Operation[];
  readonly otherwise: readonly Operation[];
  /** May share a request with transactions of other lanes. etcd never judges two of one lane together. */
  readonly lane?: string;
  /** Compares and writes only a key of its own. May share a request with other independent transactions of its lane. */
  readonly isIndependent?: boolean;
}

/** The result of a transaction. */
export interface Committed {
  readonly succeeded: boolean;
  /** The store's revision after the transaction: that of its writes if it wrote. */
  readonly revision: bigint;
  /** The results of the ranges in the branch that ran, in their order. */
  readonly ranges: readonly (readonly KeyValue[])[];
}

/** How a transaction is sent. */
export interface CommitOptions {
  /** Sends the transaction at most once, unless it provably never left this process or was definitely refused. */
  readonly once?: boolean;
  /** In milliseconds. Default: the store's own limit for a request. */
  readonly timeoutMs?: number;
}

/** The result of a renewal: the lease and the gate of its session. */
export interface Renewal {
  /** Whether the lease was extended, by a leader of the same term as the read of the gate. */
  readonly renewed: boolean;
  /** The gate, read linearizably after the renewal at the same host. */
  readonly gate: KeyValue | null;
}

/** One change of a key. */
export interface WatchEvent {
  readonly type: 'put' | 'delete';
  /** For a deleted key: its name, and the revision of the deletion as `modRevision`. */
  readonly kv: KeyValue;
}

/** The key, or the keys of [key, rangeEnd), that a watch reports on. */
export interface WatchRequest {
  readonly key: string;
  readonly rangeEnd?: string;
  readonly deletesOnly?: boolean;
  /** Does not keep the process alive. A silent connection may go unnoticed, so the caller must have another way to notice it. */
  readonly isBackground?: boolean;
  /**
   * The revision that the caller has read. A store may keep a watch for the deletion of one key open for the next caller. That watch is
   * confirmed at no earlier revision than this one, and then reports the newest deletion again if it is later.
   */
  readonly knownRevision?: bigint;
}

/** What a watch calls. It calls nothing before `watch()` has returned, and nothing after the watch was ended. */
export interface WatchListener {
  /**
   * The watch reports all events after `revision`. Of those before this call, a kept watch reports only the newest. Called again after
   * every break, because events may be missing then. A revision below one that the caller knows proves nothing: a proxy may send 0, and
   * a restored etcd has gone back. The caller reads again then.
   */
  created(revision: bigint): void;
  /**
   * The watch reports nothing until `created` is called again. The last response came `quietMs` milliseconds ago. Called as soon as the
   * store notices it, and may be called again before `created`. A store that cannot notice it never calls it.
   */
  broken?(quietMs: number): void;
  /** Events in the order of their revisions. One call has all events of a revision. */
  events(events: readonly WatchEvent[]): void;
}

/** No host of etcd has responded to the requests of the last `forMs` milliseconds. */
export interface Silence {
  readonly forMs: number;
  /** Whether it has lasted for longer than one host has to respond. */
  readonly isOutage: boolean;
  /** The failure of each host that was tried in that time, also of requests that still wait. */
  readonly hosts: readonly HostFailure[];
}

/**
 * Reads and writes an etcd cluster, or something that behaves like one. Times are in milliseconds unless a name says otherwise.
 *
 * @throws {EtcdUnavailableError} every request: no host responded in time
 * @throws {EtcdAuthError} every request: etcd refused it for lack of permission
 * @throws {EtcdRefusedError} every request: etcd refused it for another reason
 * @throws {LeaseNotFoundError} every request: etcd refused it because its lease is gone
 */
export interface Store {
  /** The clock of the lockers on this store. Default: the system's clock. */
  readonly clock?: Clock;
  /** Grants a lease with an id that the caller chose. Resolves with the granted TTL in seconds. Retries safely. */
  grant(leaseId: string, ttlSeconds: number): Promise<number>;
  /** Renews a lease once, at one host. After a failure the next call goes to the next host. */
  renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal>;
  /** Reads the keys of a lease from one member. The result is not linearizable. */
  leaseKeys(leaseId: string): Promise<ReadonlySet<string>>;
  /**
   * Returns the milliseconds until the lease ends unless it is renewed, or null if there is no such lease. etcd counts in whole seconds,
   * and rounds down. Optional: without it, no state of a lock says how long its leases last.
   */
  leaseRemainingMs?(leaseId: string): Promise<number | null>;
  /** Ends a lease and deletes its keys. Also resolves if the lease is gone already. */
  revoke(leaseId: string): Promise<void>;
  /**
   * Commits a transaction.
   * @throws {OutcomeUnknownError} with `once`: the transaction was sent and no response came
   */
  commit(transaction: Transaction, options?: CommitOptions): Promise<Committed>;
  /** Reports the shortest time that one of the last responses took, in milliseconds. Undefined if the store does not measure it. Optional. */
  roundTripMs?(): number | undefined;
  /** Watches from now on. Repairs itself after a break and reports that by `created`. The returned function ends the watch. */
  watch(request: WatchRequest, listener: WatchListener): () => void;
  /** Reports what failed, or has waited, since etcd last responded to a request. Undefined if nothing has. Optional. */
  silence?(): Silence | undefined;
  /** Ends all watches and requests. */
  close(): Promise<void>;
}
