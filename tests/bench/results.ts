/** What the workloads find out. */
import type { Memory } from './protocol.ts';

/** In the order of the columns. */
export const rivalNames = ['locker', 'etcd3', 'go', 'floor'] as const;
export type RivalName = (typeof rivalNames)[number];

export const rivalTitles: Readonly<Record<RivalName, string>> = {
  locker: 'etcd-locker',
  etcd3: 'etcd3 Lock',
  go: 'Go concurrency',
  floor: 'raw floor',
};

/** One turn of one rival: a round of it. */
export interface Round {
  readonly operations: number;
  readonly seconds: number;
  /** Of the processes that lock. */
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly calls: Readonly<Record<string, number>>;
}

/** How often something is done. */
export interface RateResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: Partial<Record<RivalName, readonly Round[]>>;
}

/** How long something takes, each round's samples in milliseconds; the floor is a raw put at the same pace. */
export interface DelayResult {
  readonly workload: string;
  readonly title: string;
  readonly rounds: Partial<Record<RivalName, readonly (readonly number[])[]>>;
  /** Raw puts one after another. */
  readonly putsAtOnce: readonly (readonly number[])[];
}

export interface QueueRound {
  readonly turnsPerSecond: number;
  readonly delays: readonly number[];
  /** In the three seconds in which all of them did nothing but wait. */
  readonly callsWhileWaiting: number;
  /** On streams: pings, one now and then for each client. */
  readonly messagesWhileWaiting: number;
}

/** What a turn costs where so many wait. */
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

/** Milliseconds in a fresh process, one of each child. */
export interface ImportResult {
  readonly imported: readonly number[];
  /** From the import to the answer of the first inspect(). */
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
