/**
 * The port behind which etcd, or a memory that behaves like it, stands.
 *
 * It is small and keeps no promise of its own: the queue, the session and the heartbeat above it do. All it must get right
 * is what was sent, what was answered, and when neither is known. Revisions are etcd's: one counter over all keys.
 */
import type { Clock } from '../clock.ts';
import type { HostFailure } from '../errors.ts';

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  /** Decimal int64; '0' for a key without a lease. */
  readonly leaseId: string;
}

/** A condition on one key, or on every key of [key, rangeEnd); a missing key has revision 0. */
export interface Compare {
  readonly key: string;
  readonly rangeEnd?: string | undefined;
  readonly target: 'create' | 'mod';
  readonly op: '=' | '<';
  readonly revision: bigint;
}

/** Reads one key, or [key, rangeEnd) by create revision (`order`) or by key. */
export interface Range {
  readonly key: string;
  readonly rangeEnd?: string | undefined;
  readonly order?: 'oldest' | 'newest' | undefined;
  readonly limit?: number | undefined;
  readonly maxCreateRevision?: bigint | undefined;
  readonly keysOnly?: boolean | undefined;
}

export type Operation =
  | { readonly put: { readonly key: string; readonly value: string; readonly leaseId: string } }
  /** One key, or all of [key, rangeEnd). */
  | { readonly delete: { readonly key: string; readonly rangeEnd?: string | undefined } }
  | { readonly range: Range };

/** If every compare holds, `then`, else `otherwise`; atomic and linearizable. */
export interface Transaction {
  readonly compare: readonly Compare[];
  readonly then: readonly Operation[];
  readonly otherwise: readonly Operation[];
  /** It may share a request with transactions of other lanes; two of one lane are never judged together. */
  readonly lane?: string;
  /** It compares and writes only a key of its own. It may share a request with other independent transactions of its lane. */
  readonly isIndependent?: boolean;
}

export interface Committed {
  readonly succeeded: boolean;
  /** The store's revision when it answered: that of the write, if there was one. */
  readonly revision: bigint;
  /** What the ranges of the branch taken found, in their order. */
  readonly ranges: readonly (readonly KeyValue[])[];
}

export interface CommitOptions {
  /** Sends it at most once, unless it provably never left this process or was definitely refused. */
  readonly once?: boolean;
  /** Default: the store's own limit for a request. */
  readonly timeoutMs?: number;
}

export interface Renewal {
  /** Whether the lease was extended by a leader of the term that also answered the read of the gate. */
  readonly renewed: boolean;
  /** The gate by a linearizable read after the renewal, at the same host. */
  readonly gate: KeyValue | null;
}

export interface WatchEvent {
  readonly type: 'put' | 'delete';
  /** Of a deleted key: its name and the revision of the deletion as `modRevision`. */
  readonly kv: KeyValue;
}

export interface WatchRequest {
  readonly key: string;
  readonly rangeEnd?: string;
  readonly deletesOnly?: boolean;
}

export interface WatchListener {
  /** The watch stands from `revision` on; called again after every break, in which events may have been missed. */
  created(revision: bigint): void;
  /** All that one revision or more did, never a part of a revision, in the order of the revisions. */
  events(events: readonly WatchEvent[]): void;
}

/**
 * Every request rejects with EtcdUnavailableError when nobody answered in time, EtcdAuthError or EtcdRefusedError when it was
 * definitely refused, LeaseNotFoundError when it was refused because its lease is gone.
 */
export interface Store {
  /** The clock that a locker on this store goes by; without one, the system's. */
  readonly clock?: Clock;
  /** Grants a lease of an id chosen by the caller, resolves with the TTL granted; repeats itself safely. */
  grant(leaseId: string, ttlSeconds: number): Promise<number>;
  /** One renewal at one host; after a failure the next call goes to the next host. */
  renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal>;
  /** The keys attached to a lease, as some member knows them: not linearizable. */
  leaseKeys(leaseId: string): Promise<ReadonlySet<string>>;
  /** Ends a lease and deletes its keys; resolves also when it is gone already. */
  revoke(leaseId: string): Promise<void>;
  /** @throws {OutcomeUnknownError} with `once`, when it was sent and no answer came */
  commit(transaction: Transaction, options?: CommitOptions): Promise<Committed>;
  /** Watches from now on until the answer is called; mends itself, and tells by `created` that it did. */
  watch(request: WatchRequest, listener: WatchListener): () => void;
  close(): Promise<void>;
}

/** A write that may be applied or not, now or later. */
export class OutcomeUnknownError extends Error {
  override readonly name = 'OutcomeUnknownError';
  readonly hosts: readonly HostFailure[];

  constructor(hosts: readonly HostFailure[]) {
    super(`No answer came to a write that was sent: ${hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ')}`);
    this.hosts = hosts;
  }
}

/** A refusal because the lease is gone. */
export class LeaseNotFoundError extends Error {
  override readonly name = 'LeaseNotFoundError';
}
