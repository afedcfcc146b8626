/** The command-line options of `npm run bench`. */
import { parseArgs } from 'node:util';
import type { Sizes } from './workloads/workload.ts';

export interface Arguments {
  readonly sizes: Sizes;
  readonly only: readonly string[];
  readonly isQuick: boolean;
  readonly wantsGo: boolean;
  readonly wantsDocument: boolean;
  readonly wantsHelp: boolean;
}

export const help = `npm run bench -- [options]

  --quick        small numbers, for a check that the bench works
  --only NAME    only this workload, or all workloads with the prefix 'NAME-'; may be repeated
  --rounds N     the number of rounds of each workload
  --no-go        without Go
  --no-write     do not write docs/benchmarks.md, which a full run of all workloads writes`;

const full: Sizes = {
  rounds: 5,
  ms: 1_000,
  warmUpMs: 5_000,
  warmUps: 200,
  atMost: 50_000,
  handOvers: 40,
  queues: [10, 100, 1_000],
  queueRounds: 3,
  heldLocks: 10_000,
  imports: 10,
};
const quick: Sizes = {
  rounds: 2,
  ms: 250,
  warmUpMs: 250,
  warmUps: 20,
  atMost: 10_000,
  handOvers: 10,
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
      go: { type: 'boolean', default: true },
      write: { type: 'boolean' },
      help: { type: 'boolean', default: false },
    },
  });
  const sizes = values.quick ? quick : full;
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1))
    throw new Error('Cannot take --rounds: expected a whole number from 1');
  if (values.write === true && values.only.length > 0) throw new Error('Cannot take --write with --only: the document needs all workloads');
  return {
    sizes: rounds === undefined ? sizes : { ...sizes, rounds, queueRounds: Math.min(rounds, sizes.queueRounds) },
    only: values.only,
    isQuick: values.quick,
    wantsGo: values.go,
    wantsDocument: values.write ?? (values.only.length === 0 && !values.quick),
    wantsHelp: values.help,
  };
}
