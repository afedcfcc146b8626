/** The command-line options of `npm run bench`. */
import { parseArgs } from 'node:util';
import type { Sizes } from './workloads/workload.ts';

export interface Arguments {
  readonly sizes: Sizes;
  readonly only: readonly string[];
  /** The servers: lines such as '3.6', versions, or files. The first one runs all workloads. Empty: only the etcd that is found. */
  readonly servers: readonly string[];
  /** The folder of a checkout that takes part as a rival. */
  readonly before: string | null;
  readonly isQuick: boolean;
  readonly wantsGo: boolean;
  readonly wantsDocument: boolean;
  /** Whether only the page is written, from the last results. */
  readonly isPageOnly: boolean;
  readonly wantsHelp: boolean;
}

export const help = `npm run bench -- [options]

A full run takes about 22 minutes on two quiet cores, and some more to build etcd 3.6 and 3.7 once.

  --quick        small numbers, for a check that the bench works
  --only NAME    only this workload, or all workloads with the prefix 'NAME-'; may be repeated
  --rounds N     the number of rounds of each workload
  --etcd LIST    the servers, separated by commas: a line such as 3.6, a version, or a file.
                 The first one runs all workloads, the others run the main ones.
                 Default of a full run: the one that the tests find, 3.6 and 3.7
  --before DIR   a checkout of an older commit takes part as a rival, with its node_modules
  --no-go        without Go
  --no-write     do not write docs/benchmarks.md, which a full run of all workloads writes
  --page         measure nothing: write docs/benchmarks.md again from the last full run`;

const full: Sizes = {
  rounds: 9,
  ms: 300,
  hotMs: 500,
  warmUpMs: 2_500,
  warmUps: 200,
  handOvers: 20,
  recalls: 12,
  queues: [100, 1_000],
  queueRounds: 2,
  heldLocks: 10_000,
  imports: 15,
};
const quick: Sizes = {
  rounds: 2,
  ms: 250,
  hotMs: 250,
  warmUpMs: 250,
  warmUps: 20,
  handOvers: 10,
  recalls: 5,
  queues: [10, 100],
  queueRounds: 1,
  heldLocks: 1_000,
  imports: 3,
};

/** @throws {Error} if an option is invalid */
export function readArguments(args: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      etcd: { type: 'string' },
      before: { type: 'string' },
      go: { type: 'boolean', default: true },
      write: { type: 'boolean' },
      page: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const sizes = values.quick ? quick : full;
  const isFull = values.only.length === 0 && !values.quick;
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1))
    throw new Error('Cannot take --rounds: expected a whole number from 1');
  if (values.write === true && values.only.length > 0) throw new Error('Cannot take --write with --only: the document needs all workloads');
  return {
    sizes: rounds === undefined ? sizes : { ...sizes, rounds, queueRounds: Math.min(rounds, sizes.queueRounds) },
    only: values.only,
    servers: values.etcd?.split(',') ?? (isFull ? ['', '3.6', '3.7'] : []),
    before: values.before ?? null,
    isQuick: values.quick,
    wantsGo: values.go,
    wantsDocument: values.write ?? isFull,
    isPageOnly: values.page,
    wantsHelp: values.help,
  };
}
