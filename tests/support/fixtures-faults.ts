/** A store in memory under a manual clock, and the faults of a network between it and the lockers. */
import { createLocker, EtcdUnavailableError, type Locker, type LockerOptions } from 'etcd-locker';
import { ManualClock } from 'etcd-locker/testing';
import { expect } from 'vitest';
import { follow } from './fixtures-holding.ts';
import { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import { MemoryStore } from '../../src/store/memory/memory-store.ts';
import {
  type CommitOptions,
  type Committed,
  OutcomeUnknownError,
  type Renewal,
  type Store,
  type Transaction,
  type WatchListener,
  type WatchRequest,
} from '../../src/store/store.ts';

export type Call =
  | { readonly method: 'grant' | 'renew' | 'leaseKeys' | 'revoke'; readonly leaseId: string }
  | { readonly method: 'commit'; readonly transaction: Transaction; readonly options: CommitOptions };

export type Match = (call: Call) => boolean;
/** What happens to a call in place of its being sent and answered. */
export type Fault = (send: () => Promise<unknown>, call: Call) => Promise<unknown>;

interface Watching {
  readonly request: WatchRequest;
  readonly listener: WatchListener;
  stop: () => void;
}

export class FaultyStore implements Store {
  readonly clock: ManualClock;
  /** Every call that came, in its order. */
  readonly calls: Call[] = [];
  readonly #inner: Store;
  readonly #watches = new Set<Watching>();
  #plans: { readonly match: Match; readonly faults: Fault[]; readonly isEndless: boolean }[] = [];
  #isWatchBroken = false;

  constructor(inner: Store, clock: ManualClock) {
    this.#inner = inner;
    this.clock = clock;
  }

  /** The next calls that match meet these faults, one each. */
  next(match: Match, ...faults: Fault[]): void {
    this.#plans.push({ match, faults, isEndless: false });
  }

  /** All calls that match meet `fault`, until the answer is called. */
  every(match: Match, fault: Fault): () => void {
    const plan = { match, faults: [fault], isEndless: true };
    this.#plans.push(plan);
    return () => {
      this.#plans = this.#plans.filter((one) => one !== plan);
    };
  }

  count(match: Match): number {
    return this.calls.filter(match).length;
  }

  /** From now on watches tell nothing and new ones do not come to stand. */
  breakWatches(): void {
    this.#isWatchBroken = true;
    for (const watch of this.#watches) watch.stop();
  }

  /** All watches stand again, from now on. */
  mendWatches(): void {
    if (!this.#isWatchBroken) return;
    this.#isWatchBroken = false;
    for (const watch of this.#watches) watch.stop = this.#inner.watch(watch.request, watch.listener);
  }

  /** No more faults. */
  mend(): void {
    this.#plans = [];
    this.mendWatches();
  }

  grant(leaseId: string, ttlSeconds: number): Promise<number> {
    return this.#call({ method: 'grant', leaseId }, () => this.#inner.grant(leaseId, ttlSeconds));
  }

  renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
    return this.#call({ method: 'renew', leaseId }, () => this.#inner.renew(leaseId, gateKey, timeoutMs));
  }

  leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    return this.#call({ method: 'leaseKeys', leaseId }, () => this.#inner.leaseKeys(leaseId));
  }

  revoke(leaseId: string): Promise<void> {
    return this.#call({ method: 'revoke', leaseId }, () => this.#inner.revoke(leaseId));
  }

  commit(transaction: Transaction, options: CommitOptions = {}): Promise<Committed> {
    return this.#call({ method: 'commit', transaction, options }, () => this.#inner.commit(transaction, options));
  }

  watch(request: WatchRequest, listener: WatchListener): () => void {
    const watch: Watching = { request, listener, stop: () => undefined };
    this.#watches.add(watch);
    if (!this.#isWatchBroken) watch.stop = this.#inner.watch(request, listener);
    return () => {
      this.#watches.delete(watch);
      watch.stop();
    };
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #call<T>(call: Call, send: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    const plan = this.#plans.find(({ match, faults }) => faults.length > 0 && match(call));
    const fault = plan?.isEndless === true ? plan.faults[0] : plan?.faults.shift();
    return fault === undefined ? send() : (fault(send, call) as Promise<T>);
  }
}

const hosts = [{ host: '127.0.0.1:2379', reason: 'no answer' }];
const isGate = (key: string): boolean => key.includes('@sessions/');
const putsOf = (call: Call): string[] =>
  call.method === 'commit' ? call.transaction.then.flatMap((one) => ('put' in one ? [one.put.key] : [])) : [];
const deletesOf = (call: Call): string[] =>
  call.method === 'commit' ? call.transaction.then.flatMap((one) => ('delete' in one ? [one.delete.key] : [])) : [];
const compares = (call: Call, test: (key: string, revision: bigint) => boolean): boolean =>
  call.method === 'commit' && call.transaction.compare.some(({ key, revision }) => test(key, revision));

/** Which call it is, by what it does to the keys. */
export const calls = {
  any: () => true,
  grant: ({ method }: Call) => method === 'grant',
  renew: ({ method }: Call) => method === 'renew',
  leaseKeys: ({ method }: Call) => method === 'leaseKeys',
  revoke: ({ method }: Call) => method === 'revoke',
  commit: ({ method }: Call) => method === 'commit',
  /** Of an entry, by a hand-over or not. */
  creation: (call: Call) => putsOf(call).some((key) => !isGate(key)) && compares(call, isGate),
  handOver: (call: Call) => putsOf(call).length > 0 && deletesOf(call).length > 0,
  value: (call: Call) => putsOf(call).some((key) => !isGate(key)) && !compares(call, isGate),
  gatePut: (call: Call) => putsOf(call).some(isGate),
  gateMove: (call: Call) => putsOf(call).some(isGate) && compares(call, (_, revision) => revision > 0n),
  deletion: (call: Call) => deletesOf(call).length > 0 && putsOf(call).length === 0,
  read: (call: Call) => call.method === 'commit' && putsOf(call).length + deletesOf(call).length === 0,
};

/** The mod revisions of the gate that the creations have compared, in their order. */
export const gatesOf = (store: FaultyStore): bigint[] =>
  store.calls
    .filter(calls.creation)
    .flatMap((call) => (call.method === 'commit' ? call.transaction.compare.filter(({ key }) => isGate(key)) : []))
    .map(({ revision }) => revision);

const unanswered = (call: Call): Error => {
  if (call.method !== 'commit') return new EtcdUnavailableError(5_000, hosts);
  const { once, timeoutMs = 5_000 } = call.options;
  return once === true ? new OutcomeUnknownError(hosts) : new EtcdUnavailableError(timeoutMs, hosts);
};

export const hangs: Fault = () => new Promise(() => undefined);

export const refused =
  (error: Error): Fault =>
  () =>
    Promise.reject(error);

/** It never reached etcd, and nobody can know. */
export const lostRequest: Fault = (_, call) => Promise.reject(unanswered(call));

/** It was applied, and the answer never came. */
export const lostAnswer: Fault = async (send, call) => {
  await send();
  throw unanswered(call);
};

/** `fault`, or else a proper answer, so much later. */
export const after = (clock: ManualClock, ms: number, fault: Fault = (send) => send()): Fault => {
  return (send, call) =>
    new Promise((resolve, reject) => {
      clock.setTimer(ms, () => {
        fault(send, call).then(resolve, reject);
      });
    });
};

/** Applied at once, answered so much later, or not even then. */
export const answeredAfter = (clock: ManualClock, ms: number, isAnswered = true): Fault => {
  return async (send, call) => {
    const answer = await send();
    await new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    if (!isAnswered) throw unanswered(call);
    return answer;
  };
};

/** Nobody answers: it fails when its own time is up, having reached nobody. */
export const away = (clock: ManualClock): Fault => {
  return (send, call) => {
    const timeoutMs = call.method === 'commit' ? (call.options.timeoutMs ?? 5_000) : 2_000;
    return after(clock, timeoutMs, lostRequest)(send, call);
  };
};

/** No answer comes; `apply` has etcd apply it, as a member does that was frozen with the request in its hands. */
export function late(): { readonly fault: Fault; readonly apply: () => Promise<unknown> } {
  let sent: (() => Promise<unknown>) | undefined;
  return {
    fault: (send, call) => {
      sent = send;
      return Promise.reject(unanswered(call));
    },
    apply: () => sent?.() ?? Promise.reject(new Error('It was not sent')),
  };
}

export interface Bench extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly etcd: MemoryEtcd;
  readonly store: FaultyStore;
  createLocker(options?: LockerOptions): Locker;
  /** 'key value' of each entry of a name, oldest first. */
  entries(name: string): { readonly key: string; readonly value: string; readonly createRevision: bigint }[];
}

/** When it ends all faults are mended, the lockers closed, and nothing may be left once all leases are over. */
export async function openBench(): Promise<Bench> {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const store = new FaultyStore(new MemoryStore(etcd, clock), clock);
  const lockers: Locker[] = [];
  await Promise.resolve();
  const entries = (name: string) => {
    const range = { key: `locks/${name}/`, rangeEnd: `locks/${name}0`, order: 'oldest' } as const;
    return [...(etcd.commit({ compare: [], then: [{ range }], otherwise: [] }).ranges[0] ?? [])];
  };
  return {
    clock,
    etcd,
    store,
    entries,
    createLocker: (options) => {
      const locker = createLocker({ store, ...options });
      lockers.push(locker);
      return locker;
    },
    async [Symbol.asyncDispose]() {
      store.mend();
      const closed = follow(Promise.all(lockers.map((locker) => locker.close())));
      // A call that hangs for ever may make close() wait for as long as it is allowed to.
      for (let tries = 0; tries < 30 && !closed.isSettled; tries += 1) await clock.advance(1_000);
      expect(closed).toMatchObject({ isSettled: true, error: undefined });
      await clock.advance(120_000);
      const everything = etcd.commit({ compare: [], then: [{ range: { key: ' ', rangeEnd: '~' } }], otherwise: [] });
      expect({
        timers: clock.timerCount,
        isHeld: clock.isHeld,
        leases: etcd.leaseIds,
        watches: etcd.watchCount,
        keys: everything.ranges[0]?.map(({ key }) => key),
      }).toEqual({ timers: 0, isHeld: false, leases: [], watches: 0, keys: [] });
    },
  };
}
