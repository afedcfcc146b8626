/** The results of the workloads. */
import type { Memory } from './protocol.ts';

/** The rivals, in the order of the columns. */
export const rivalNames = ['locker', 'etcd3', 'go', 'floor'] as const;
export type RivalName = (typeof rivalNames)[number];

export const rivalTitles: Readonly<Record<RivalName, string>> = {
  locker: 'etcd-locker',
  etcd3: 'etcd3 Lock',
  go: 'Go concurrency',
  floor: 'raw floor',
};

/** One round of one rival. */
export interface Round {
  readonly operations: number;
  readonly seconds: number;
  /** The processor time of the worker processes. */
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly calls: Readonly<Record<string, number>>;
}

/** The rate of an operation. */
export interface RateResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: Partial<Record<RivalName, readonly Round[]>>;
}

/** A delay: the samples of each round in milliseconds. The floor is a raw put with the same pauses. */
export interface DelayResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: Partial<Record<RivalName, readonly (readonly number[])[]>>;
  /** Raw puts without pauses. */
  readonly putsAtOnce: readonly (readonly number[])[];
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
  readonly rounds: Partial<Record<RivalName, readonly QueueRound[]>>;
}

export interface MemoryFigures {
  readonly locks: number;
  readonly leases: number;
  readonly perLock: Memory;
}

export type MemoryResult = Partial<Record<RivalName, MemoryFigures>>;

/** Milliseconds in a new process, one sample for each process. */
export interface ImportResult {
  readonly imported: readonly number[];
  /** From the import to the result of the first inspect(). */
  readonly firstUse: readonly number[];
  readonly etcd3: readonly number[];
}

export interface Results {
  readonly rates: RateResult[];
  readonly delays: DelayResult[];
  readonly queues: QueueResult[];
  memory?: MemoryResult;
  imports?: ImportResult;
}
