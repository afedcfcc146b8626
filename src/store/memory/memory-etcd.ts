/**
 * An etcd cluster in memory: one revision over all keys, transactions, leases that expire, and watches from now on.
 *
 * It responds at once and loses nothing. Tests put the faults of a network between it and a locker.
 */
import { type Clock, longestTimerMs } from '../../clock.ts';
import { EtcdRefusedError, LeaseNotFoundError } from '../../errors.ts';
import type { Committed, Compare, KeyValue, Operation, Range, Transaction, WatchEvent, WatchRequest } from '../store.ts';

interface Lease {
  readonly ttlSeconds: number;
  readonly keys: Set<string>;
  endsAtMs: number;
  cancelTimer: () => void;
}

interface Watcher extends WatchRequest {
  readonly deliver: (events: readonly WatchEvent[]) => void;
  readonly onBreak: () => void;
}

/** The state of an etcd at one revision, as a snapshot file has it. */
export interface MemorySnapshot {
  readonly revision: bigint;
  readonly kvs: readonly KeyValue[];
  readonly leases: readonly (readonly [id: string, ttlSeconds: number])[];
}

/** What a key had before a write. */
interface Change {
  readonly revision: bigint;
  readonly key: string;
  readonly before: KeyValue | undefined;
}

/** Reads of the past go back so many changes. Those before count as compacted. */
const keptChanges = 1_000;

export class MemoryEtcd {
  readonly #clock: Clock;
  readonly #kvs = new Map<string, KeyValue>();
  readonly #leases = new Map<string, Lease>();
  readonly #watchers = new Set<Watcher>();
  #changes: Change[] = [];
  /** Reads as of an earlier revision are refused. */
  #compactedAt = 1n;
  #revision = 1n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get revision(): bigint {
    return this.#revision;
  }

  /** The ids of all leases that have not ended. */
  get leaseIds(): readonly string[] {
    return [...this.#leases.keys()];
  }

  /** The number of open watches. */
  get watchCount(): number {
    return this.#watchers.size;
  }

  /** Grants a lease. Returns false if a lease with that id exists. */
  grant(id: string, ttlSeconds: number): boolean {
    if (this.#leases.has(id)) return false;
    const lease: Lease = { ttlSeconds, keys: new Set(), endsAtMs: 0, cancelTimer: () => undefined };
    this.#leases.set(id, lease);
    this.#startLease(id, lease);
    return true;
  }

  /** Renews a lease. Returns false if the lease is gone. */
  renew(id: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    lease.cancelTimer();
    this.#startLease(id, lease);
    return true;
  }

  /** The time until the lease ends, in whole seconds as etcd counts it. Null if there is no such lease. */
  leaseRemainingMs(id: string): number | null {
    const lease = this.#leases.get(id);
    return lease === undefined ? null : 1_000 * Math.floor((lease.endsAtMs - this.#clock.now().monotonicMs) / 1_000);
  }

  leaseKeys(id: string): ReadonlySet<string> {
    return new Set(this.#leases.get(id)?.keys);
  }

  /** Ends a lease and deletes its keys, in one revision. */
  revoke(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    lease.cancelTimer();
    this.#leases.delete(id);
    this.#write([...lease.keys].map((key) => ({ delete: { key } })));
  }

  commit({ compare, then, otherwise }: Transaction): Committed {
    const succeeded = compare.every((one) => this.#holds(one));
    const operations = succeeded ? then : otherwise;
    if ([then, otherwise].some(writesTwice)) throw new EtcdRefusedError('etcdserver: duplicate key given in txn request');
    for (const operation of operations) {
      if ('put' in operation && operation.put.leaseId !== '0' && !this.#leases.has(operation.put.leaseId)) {
        throw new LeaseNotFoundError('requested lease not found');
      }
      if ('touch' in operation && !this.#kvs.has(operation.touch.key)) throw new EtcdRefusedError('etcdserver: key not found');
    }
    const ranges = this.#write(operations);
    return { succeeded, revision: this.#revision, ranges };
  }

  /** `onBreak` is called when a restore breaks the watch. From then on it reports what happens after the restore. */
  watch(request: WatchRequest, deliver: Watcher['deliver'], onBreak: Watcher['onBreak'] = () => undefined): () => void {
    const watcher = { ...request, deliver, onBreak };
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  snapshot(): MemorySnapshot {
    const leases = [...this.#leases].map(([id, { ttlSeconds }]) => [id, ttlSeconds] as const);
    return { revision: this.#revision, kvs: [...this.#kvs.values()], leases };
  }

  /**
   * Goes back to a snapshot: keys, leases and the revision. Each lease gets its whole TTL, as in etcd. No event reports the changes.
   * @param bumpRevision as of `etcdutl snapshot restore --bump-revision`: the revision is that much higher, those of the keys are not
   */
  restore({ revision, kvs, leases }: MemorySnapshot, { bumpRevision = 0n }: { readonly bumpRevision?: bigint } = {}): void {
    for (const lease of this.#leases.values()) lease.cancelTimer();
    this.#leases.clear();
    this.#kvs.clear();
    for (const [id, ttlSeconds] of leases) this.grant(id, ttlSeconds);
    for (const kv of kvs) {
      this.#kvs.set(kv.key, kv);
      this.#leases.get(kv.leaseId)?.keys.add(kv.key);
    }
    this.#revision = revision + bumpRevision;
    this.#changes = [];
    this.#compactedAt = this.#revision;
    for (const watcher of [...this.#watchers]) watcher.onBreak();
  }

  #startLease(id: string, lease: Lease): void {
    const ttlMs = lease.ttlSeconds * 1_000;
    lease.endsAtMs = this.#clock.now().monotonicMs + ttlMs;
    this.#startTimer(id, lease, ttlMs);
  }

  /** The end comes by timers alone: fake timers may move them without `performance.now()`, as those of node:test do. */
  #startTimer(id: string, lease: Lease, leftMs: number): void {
    const stepMs = Math.min(leftMs, longestTimerMs);
    lease.cancelTimer = this.#clock.setTimer(stepMs, () => {
      if (leftMs > stepMs) this.#startTimer(id, lease, leftMs - stepMs);
      else this.revoke(id);
    });
  }

  #holds({ key, rangeEnd, target, op, revision }: Compare): boolean {
    const found = this.#range({ key, rangeEnd });
    // A missing key counts as revision 0, and so does an empty range.
    const revisions = found.length === 0 ? [0n] : found.map((kv) => (target === 'create' ? kv.createRevision : kv.modRevision));
    return revisions.every((one) => (op === '=' ? one === revision : op === '<' ? one < revision : one > revision));
  }

  /** Runs the operations in their order. All their writes have one new revision. */
  #write(operations: readonly Operation[]): (readonly KeyValue[])[] {
    const revision = this.#revision + 1n;
    const events: WatchEvent[] = [];
    const ranges: (readonly KeyValue[])[] = [];
    for (const operation of operations) {
      if ('range' in operation) ranges.push(this.#range(operation.range));
      else if ('put' in operation) events.push({ type: 'put', kv: this.#put(operation.put, revision) });
      else if ('touch' in operation)
        events.push(...this.#range(operation.touch).map((kv) => ({ type: 'put' as const, kv: this.#put(kv, revision) })));
      else {
        for (const { key } of this.#range(operation.delete)) {
          this.#delete(key, revision);
          events.push({ type: 'delete', kv: { key, value: '', createRevision: 0n, modRevision: revision, leaseId: '0' } });
        }
      }
    }
    if (events.length > 0) {
      this.#revision = revision;
      this.#compact();
      this.#notify(events);
    }
    return ranges;
  }

  #put({ key, value, leaseId }: { key: string; value: string; leaseId: string }, revision: bigint): KeyValue {
    const before = this.#kvs.get(key);
    this.#changes.push({ revision, key, before });
    if (before !== undefined) this.#leases.get(before.leaseId)?.keys.delete(key);
    const kv = { key, value, createRevision: before?.createRevision ?? revision, modRevision: revision, leaseId };
    this.#kvs.set(key, kv);
    this.#leases.get(leaseId)?.keys.add(key);
    return kv;
  }

  #delete(key: string, revision: bigint): void {
    const before = this.#kvs.get(key);
    this.#changes.push({ revision, key, before });
    if (before !== undefined) this.#leases.get(before.leaseId)?.keys.delete(key);
    this.#kvs.delete(key);
  }

  #range({ key, rangeEnd, order, limit, maxCreateRevision, keysOnly = false, revision }: Range): readonly KeyValue[] {
    const matches = ({ key: one, createRevision }: KeyValue): boolean =>
      isWithin(one, key, rangeEnd) && (maxCreateRevision === undefined || createRevision <= maxCreateRevision);
    const kvs = revision === undefined ? this.#kvs : this.#at(revision);
    const found = rangeEnd === undefined ? [kvs.get(key)].filter((kv) => kv !== undefined) : [...kvs.values()];
    const sign = order === 'newest' ? -1 : 1;
    return found
      .filter(matches)
      .sort((a, b) => (order === undefined ? compareText(a.key, b.key) : sign * Number(a.createRevision - b.createRevision)))
      .slice(0, limit)
      .map((kv) => (keysOnly ? { ...kv, value: '', leaseId: '0' } : kv));
  }

  /** The keys as of a revision. */
  #at(revision: bigint): ReadonlyMap<string, KeyValue> {
    if (revision > this.#revision) throw new EtcdRefusedError('etcdserver: mvcc: required revision is a future revision');
    if (revision < this.#compactedAt) throw new EtcdRefusedError('etcdserver: mvcc: required revision has been compacted');
    const kvs = new Map(this.#kvs);
    const undone = this.#changes.filter((change) => change.revision > revision).reverse();
    for (const { key, before } of undone) {
      if (before === undefined) kvs.delete(key);
      else kvs.set(key, before);
    }
    return kvs;
  }

  #compact(): void {
    if (this.#changes.length < 2 * keptChanges) return;
    this.#compactedAt = this.#changes[keptChanges]?.revision ?? this.#compactedAt;
    this.#changes = this.#changes.filter(({ revision }) => revision > this.#compactedAt);
  }

  #notify(events: readonly WatchEvent[]): void {
    for (const watcher of [...this.#watchers]) {
      const seen = events.filter(
        ({ type, kv }) => isWithin(kv.key, watcher.key, watcher.rangeEnd) && (type === 'delete' || watcher.deletesOnly !== true),
      );
      if (seen.length > 0) watcher.deliver(seen);
    }
  }
}

const isWithin = (key: string, from: string, end: string | undefined): boolean =>
  end === undefined ? key === from : key >= from && key < end;

/** Whether a key is put twice, or put and deleted. etcd refuses both. */
function writesTwice(operations: readonly Operation[]): boolean {
  const puts = operations.flatMap((one) => ('put' in one ? [one.put.key] : 'touch' in one ? [one.touch.key] : []));
  const isDeleted = (key: string): boolean =>
    operations.some((one) => 'delete' in one && isWithin(key, one.delete.key, one.delete.rangeEnd));
  return new Set(puts).size < puts.length || puts.some(isDeleted);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
