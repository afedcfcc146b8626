/** The interface of a workload, and the helpers that all workloads share. */
import type { EtcdSource } from '../../support/etcd/etcd.ts';
import type { WorkerGroup, Runner } from '../worker-group.ts';
import type { Opening } from '../protocol.ts';
import type { Results, RivalName } from '../results.ts';
import type { GoPrograms } from '../rivals/go.ts';
import type { BenchServer } from '../bench-server.ts';

export interface Sizes {
  readonly rounds: number;
  /** The time of a round for each rival. */
  readonly ms: number;
  /** The same for a hot name, which has fewer turns. */
  readonly hotMs: number;
  /** The time of the first round of a Node rival, which is not counted. V8 compiles the code in this time. */
  readonly warmUpMs: number;
  /** The number of locks of each client before the first round. */
  readonly warmUps: number;
  /** The hand-overs, and the recalls of kept locks, in each round. */
  readonly handOvers: number;
  readonly recalls: number;
  readonly queues: readonly number[];
  readonly queueRounds: number;
  readonly heldLocks: number;
  readonly imports: number;
}

export interface Bench {
  readonly sizes: Sizes;
  readonly results: Results;
  readonly etcd: EtcdSource;
  /** Go's programs, or null if they were not built. */
  readonly go: GoPrograms | null;
  /** The folder of the tree before, or null if it takes no part. */
  readonly before: string | null;
  /** The rivals that take no part on this server. */
  readonly without: readonly RivalName[];
}

export interface Workload {
  readonly name: string;
  readonly nodes: 1 | 3;
  /** Whether it also runs on the other versions of etcd. */
  readonly isMain?: boolean;
  run(bench: Bench): Promise<void>;
}

/** Longer than a round, so that no renewal is counted. */
export const ttlSeconds = 600;

/** Node workers that replace the usual ones. */
export type Replaced = Partial<Record<RivalName, Runner>>;

/** Returns the runner of each of these rivals that take part. */
export function runnersOf({ go, before, without }: Bench, rivals: readonly RivalName[], replaced: Replaced = {}): [RivalName, Runner][] {
  const all: Readonly<Record<RivalName, Runner | null>> = {
    locker: { node: 'locker' },
    before: before === null ? null : { node: 'before', folder: before },
    etcd3: { node: 'etcd3' },
    go: go === null ? null : { program: go.go },
    go37: go === null ? null : { program: go.go37 },
    floor: { node: 'raw' },
    ...replaced,
  };
  return rivals.flatMap((rival) => {
    const runner = all[rival];
    return runner === null || without.includes(rival) ? [] : [[rival, runner]];
  });
}

/** Returns the rivals in the order of this round: each round begins with another one. */
export function inTurn<T>(rivals: readonly T[], round: number): readonly T[] {
  const first = Math.max(round, 0) % Math.max(rivals.length, 1);
  return [...rivals.slice(first), ...rivals.slice(0, first)];
}

/** Measures one round of a rival: opens its clients, runs `work`, closes the clients, and checks that nothing is left. */
export async function measureRival<T>(
  server: BenchServer,
  group: WorkerGroup,
  opening: Partial<Opening>,
  work: () => Promise<T>,
): Promise<T> {
  let result: T;
  try {
    await group.open({ hosts: server.hosts, clients: 1, sessions: 1, ttlSeconds, warmUps: 1, ...opening });
    result = await work();
  } finally {
    await group.close();
  }
  await server.expectNothingLeft();
  return result;
}
