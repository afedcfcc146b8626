/** The interface of a workload, and the helpers that all workloads share. */
import type { WorkerGroup, Runner } from '../worker-group.ts';
import type { Opening } from '../protocol.ts';
import type { Results, RivalName } from '../results.ts';
import type { BenchServer } from '../bench-server.ts';

export interface Sizes {
  readonly rounds: number;
  /** The time of a round for each rival. `atMost` limits its operations. */
  readonly ms: number;
  /** The time of the first round, which is not counted. V8 compiles the code in this time. */
  readonly warmUpMs: number;
  /** The number of locks of each client before the first round. */
  readonly warmUps: number;
  readonly atMost: number;
  readonly handOvers: number;
  readonly queues: readonly number[];
  readonly queueRounds: number;
  readonly heldLocks: number;
  readonly imports: number;
}

export interface Bench {
  readonly sizes: Sizes;
  readonly results: Results;
  /** The path of Go's program, or null if it was not built. */
  readonly goProgram: string | null;
}

export interface Workload {
  readonly name: string;
  readonly nodes: 1 | 3;
  run(bench: Bench): Promise<void>;
}

/** Longer than a round, so that no renewal is counted. */
export const ttlSeconds = 600;

/** Returns the runner of each rival, without the excluded rivals. */
export function runnersOf(bench: Bench, without: readonly RivalName[] = [], floor: 'raw' | 'raw-turns' = 'raw'): [RivalName, Runner][] {
  const all: [RivalName, Runner | null][] = [
    ['locker', { node: 'locker' }],
    ['etcd3', { node: 'etcd3' }],
    ['go', bench.goProgram === null ? null : { program: bench.goProgram }],
    ['floor', { node: floor }],
  ];
  return all.flatMap(([rival, runner]) => (runner === null || without.includes(rival) ? [] : [[rival, runner]]));
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
