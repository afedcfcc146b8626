/** The command-line options of `npm run simulate`. */
import { parseArgs } from 'node:util';
import { type FaultKind, faultKinds } from './faults.ts';
import type { Reductions } from './scenario.ts';

export const help = `npm run simulate -- [options]

  --runs N          how many seeds (default 2000)
  --from N          the first seed (default 1)
  --seconds S       stop after this many seconds
  --seed N          run this seed alone, and print its history
  --keepers         keep locks in every run, not only in two fifths of them
  --planted NAME    plant a bug, and stop at the first seed that finds it; 'all' plants each bug in turn
  --until-found     stop at the first violation, without shortening its run

Reductions, which make a failing seed shorter:
  --without A,B     leave out these kinds of faults: ${faultKinds.join(', ')}
  --lockers N  --callers N  --names N  --chaos MS    use fewer or less of these
`;

export interface Arguments {
  readonly runs: number;
  readonly from: number;
  readonly seconds: number;
  readonly seed: number | undefined;
  readonly planted: string | undefined;
  readonly isUntilFound: boolean;
  readonly wantsHelp: boolean;
  readonly reductions: Reductions;
}

export function readArguments(args: readonly string[]): Arguments {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: text,
      from: text,
      seconds: text,
      seed: text,
      planted: text,
      'until-found': { type: 'boolean' },
      keepers: { type: 'boolean' },
      help: { type: 'boolean' },
      without: text,
      lockers: text,
      callers: text,
      names: text,
      chaos: text,
    },
  });
  const count = (name: 'runs' | 'from' | 'seconds' | 'seed' | 'lockers' | 'callers' | 'names' | 'chaos'): number | undefined => {
    const given = values[name];
    if (given === undefined) return undefined;
    const number = Number(given);
    if (!(number >= 0)) throw new RangeError(`Cannot take --${name} ${given}: expected a number`);
    return number;
  };
  const given = <K extends keyof Reductions>(key: K, value: Reductions[K]): Reductions => (value === undefined ? {} : { [key]: value });
  return {
    runs: count('runs') ?? (values.seconds === undefined ? 2_000 : Infinity),
    from: count('from') ?? 1,
    seconds: count('seconds') ?? Infinity,
    seed: count('seed'),
    planted: values.planted,
    isUntilFound: values['until-found'] === true,
    wantsHelp: values.help === true,
    reductions: {
      ...given('without', values.without?.split(',').map(toKind)),
      ...given('lockers', count('lockers')),
      ...given('callers', count('callers')),
      ...given('names', count('names')),
      ...given('chaosMs', count('chaos')),
      ...given('keepers', values.keepers),
    },
  };
}

function toKind(text: string): FaultKind {
  const kind = faultKinds.find((one) => one === text);
  if (kind === undefined) throw new RangeError(`Cannot leave out ${text}: expected one of ${faultKinds.join(', ')}`);
  return kind;
}
