/** The results of the workloads. They survive JSON, so that the page can be written again from a saved run. */
import type { Memory } from './protocol.ts';

/** The rivals, in the order of the columns. */
export const rivalNames = ['locker', 'before', 'etcd3', 'go', 'go37', 'floor'] as const;
export type RivalName = (typeof rivalNames)[number];

export const rivalTitles: Readonly<Record<RivalName, string>> = {
  locker: 'etcd-locker',
  before: 'tree before',
  etcd3: 'etcd3 Lock',
  go: 'Go 3.6',
  go37: 'Go 3.7',
  floor: 'raw floor',
};

export type PerRival<T> = Partial<Record<RivalName, T>>;

/** One round of one rival. */
export interface Round {
  readonly operations: number;
  readonly seconds: number;
  /** The processor time of the worker processes. */
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly calls: Readonly<Record<string, number>>;
}

/** What one hand-over by a server costs at least, measured in the same round as the rivals. */
export interface TurnLimit {
  /** The delay that the proxy adds, each way. */
  readonly addedMs: number;
  /** A read of one member: no commit. */
  readonly roundTripMs: number;
  /** A raw put: the round trip and one commit. */
  readonly putMs: number;
}

/** The rate of an operation. */
export interface RateResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: PerRival<readonly Round[]>;
  /** By round, for a workload behind the delay proxy. */
  readonly limits?: readonly TurnLimit[];
}

/** A delay: the samples of each round in milliseconds. The floor is a raw put with the same pauses. */
export interface DelayResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: PerRival<readonly (readonly number[])[]>;
  /** Raw puts without pauses. */
  readonly putsAtOnce: readonly (readonly number[])[];
}

/** One round of recalls: another process locks names that are kept. */
export interface RecallRound {
  /** From `lock()` of a kept name until it is held, in milliseconds. */
  readonly recalled: readonly number[];
  /** The same for a free name. */
  readonly plain: readonly number[];
  /** The requests of both processes for all recalls: unary calls, and messages on streams. */
  readonly calls: number;
  readonly messages: number;
}

export interface QueueRound {
  readonly holdsPerSecond: number;
  readonly delays: readonly number[];
  /** Unary calls in the three seconds in which all callers only wait. */
  readonly callsWhileWaiting: number;
  /** Messages on streams in that time: the liveness pings of each client. */
  readonly messagesWhileWaiting: number;
}

/** The cost of a hold with this number of waiters. */
export interface QueueResult {
  readonly workload: string;
  readonly waiters: number;
  readonly rounds: PerRival<readonly QueueRound[]>;
}

export interface MemoryFigures {
  readonly locks: number;
  readonly leases: number;
  readonly perLock: Memory;
}

export type MemoryResult = PerRival<MemoryFigures>;

/** Milliseconds of new processes, one sample for each process. */
export interface ImportResult {
  /** The whole process, minus an empty process that ran just before. */
  readonly overEmpty: readonly number[];
  /** The import alone, by the clock of the process. */
  readonly imported: readonly number[];
  /** From the import to the result of the first inspect(). */
  readonly firstUse: readonly number[];
  readonly etcd3: readonly number[];
}

export interface Results {
  readonly rates: RateResult[];
  readonly delays: DelayResult[];
  readonly queues: QueueResult[];
  recall?: readonly RecallRound[];
  memory?: MemoryResult;
  imports?: ImportResult;
  /** The main workloads on other versions of etcd. */
  readonly servers: ServerResults[];
}

export interface ServerResults {
  readonly version: string;
  readonly results: Results;
}

export function noResults(): Results {
  return { rates: [], delays: [], queues: [], servers: [] };
}

export function perSecond({ operations, seconds }: Round): number {
  return operations / seconds;
}

export function rateOf({ rates }: Results, workload: string): RateResult | undefined {
  return rates.find((result) => result.workload === workload);
}
