/** What the bench knows of a workload. */
import type { Crew, Runner } from '../crew.ts';
import type { Opening } from '../protocol.ts';
import type { Results, RivalName } from '../results.ts';
import type { Stage } from '../stage.ts';

export interface Sizes {
  readonly rounds: number;
  /** How long a rival does its work in a round, and how often at most. */
  readonly ms: number;
  /** The first round is longer and not counted: by its end code is compiled, as it is in a process that has run for a while. */
  readonly warmUpMs: number;
  /** How often each client locks and releases before that round. */
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
  /** Go's program, null where there is none. */
  readonly goProgram: string | null;
}

export interface Workload {
  readonly name: string;
  readonly nodes: 1 | 3;
  run(bench: Bench): Promise<void>;
}

/** Longer than a turn: no renewal falls into what is counted. */
export const ttlSeconds = 600;

/** What works for each rival; null where the rival has no part. */
export function runnersOf(bench: Bench, without: readonly RivalName[] = [], floor: 'raw' | 'raw-turns' = 'raw'): [RivalName, Runner][] {
  const all: [RivalName, Runner | null][] = [
    ['locker', { node: 'locker' }],
    ['etcd3', { node: 'etcd3' }],
    ['go', bench.goProgram === null ? null : { program: bench.goProgram }],
    ['floor', { node: floor }],
  ];
  return all.flatMap(([rival, runner]) => (runner === null || without.includes(rival) ? [] : [[rival, runner]]));
}

/** One turn of a crew: opened before it, closed after it, and nothing may be left. */
export async function turn<T>(stage: Stage, crew: Crew, opening: Partial<Opening>, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    await crew.open({ hosts: stage.hosts, clients: 1, sessions: 1, ttlSeconds, warmUps: 1, ...opening });
    result = await work();
  } finally {
    await crew.close();
  }
  await stage.expectNothingLeft();
  return result;
}
