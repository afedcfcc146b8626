/** The results as tables of text, for the terminal and for the document. */
import { callsAndMessages, totalCalls } from './metrics.ts';
import {
  perSecond,
  rateOf,
  rivalNames,
  rivalTitles,
  type ImportResult,
  type MemoryResult,
  type PerRival,
  type QueueRound,
  type RateResult,
  type Results,
  type RivalName,
  type Round,
} from './results.ts';
import { median, quantile, quartiles, ratios } from './statistics.ts';

export interface Table {
  readonly title: string;
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export const absent = '-';

/** @param version of the etcd that ran all workloads */
export function tablesOf(results: Results, version: string): Table[] {
  return [
    ...rateTables(results),
    ...limitTables(results),
    ...recallTables(results),
    ...serverTables(results, version),
    ...delayTables(results),
    ...queueTables(results),
    ...memoryTables(results),
    ...importTables(results),
  ];
}

/** Formats 1234.5 as '1 235', 12.345 as '12.3' and 0.0123 as '0.012', with the significant digits alone. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return absent;
  if (Number.isInteger(value) && Math.abs(value) < 100) return String(value);
  const size = Math.abs(value);
  if (size >= 100)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, ' ');
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** Returns the median, and the quartiles in parentheses. */
export function withQuartiles(values: readonly number[], unit = ''): string {
  const { lower, median, upper } = quartiles(values);
  return `${number(median)}${unit} (${number(lower)}–${number(upper)})`;
}

/** The columns of the rivals that took part. */
function columnsOf(rows: readonly { readonly rounds: PerRival<unknown> }[]): RivalName[] {
  return rivalNames.filter((rival) => rows.some(({ rounds }) => rounds[rival] !== undefined));
}

function rateTables({ rates }: Results): Table[] {
  if (rates.length === 0) return [];
  const rivals = columnsOf(rates);
  const table = (title: string, cell: (rounds: readonly Round[]) => string): Table => ({
    title,
    headings: ['workload', ...rivals.map((rival) => rivalTitles[rival])],
    rows: rates.map(({ title, rounds }) => [title, ...rivals.map((rival) => cellOf(rounds[rival], cell))]),
  });
  return [
    table('Per second: median (lower–upper quartile of the rounds)', (rounds) => withQuartiles(rounds.map(perSecond))),
    table('Requests to etcd for each: unary calls + messages on streams', (rounds) => callsText(rounds)),
    table('Processor time for each, in µs: its own processes + etcd', (rounds) => {
      const own = median(rounds.map(({ cpuMs, operations }) => (1_000 * cpuMs) / operations));
      return `${number(own)} + ${number(median(rounds.map(({ serverCpuMs, operations }) => (1_000 * serverCpuMs) / operations)))}`;
    }),
  ];
}

/** Returns the unary calls and the messages per operation over all rounds. */
function callsText(rounds: readonly Round[]): string {
  const operations = rounds.reduce((sum, round) => sum + round.operations, 0);
  const messages = rounds.reduce((sum, { calls }) => sum + callsAndMessages(calls)[1], 0);
  const unary = rounds.reduce((sum, { calls }) => sum + totalCalls(calls), 0) - messages;
  const each = (count: number): string => (count === 0 ? '0' : number(count / operations));
  return messages === 0 ? each(unary) : `${each(unary)} + ${each(messages)}`;
}

function limitTables({ rates }: Results): Table[] {
  const delayed = rates.flatMap(({ title, limits, rounds }) => (limits === undefined ? [] : [{ title, limits, rounds }]));
  if (delayed.length === 0) return [];
  const turn = (rounds: readonly Round[]): string => withQuartiles(rounds.map((round) => 1_000 / perSecond(round)));
  const rivals = columnsOf(delayed);
  return [
    {
      title: 'Time of a turn behind the delay proxy, in ms: median (lower–upper quartile)',
      headings: [
        'workload',
        ...rivals.map((rival) => rivalTitles[rival]),
        'round trip + commit',
        'round trip',
        'added by the proxy, each way',
      ],
      rows: delayed.map(({ title, limits, rounds }) => [
        title,
        ...rivals.map((rival) => cellOf(rounds[rival], turn)),
        withQuartiles(limits.map(({ putMs }) => putMs)),
        withQuartiles(limits.map(({ roundTripMs }) => roundTripMs)),
        withQuartiles(limits.map(({ addedMs }) => addedMs)),
      ]),
    },
  ];
}

function recallTables({ recall }: Results): Table[] {
  if (recall === undefined) return [];
  const count = recall.reduce((sum, { recalled }) => sum + recalled.length, 0);
  const each = (of: 'calls' | 'messages'): string => number(recall.reduce((sum, round) => sum + round[of], 0) / count);
  return [
    {
      title: 'Another process wants a kept lock, in ms: median (lower–upper quartile of the rounds)',
      headings: ['from lock() to held', 'time', 'requests of both processes'],
      rows: [
        ['a kept name', withQuartiles(recall.map(({ recalled }) => median(recalled))), `${each('calls')} + ${each('messages')}`],
        ['a free name', withQuartiles(recall.map(({ plain }) => median(plain))), '1'],
      ],
    },
  ];
}

/** The workloads that ran on each version of etcd. */
const mainWorkloads = ['one', 'names-256', 'clients-8', 'kept'];

function serverTables(results: Results, version: string): Table[] {
  if (results.servers.length === 0) return [];
  const servers = [{ version, results }, ...results.servers];
  const rateRow = (server: string, { title, rounds }: RateResult): string[] => {
    const { locker = [] } = rounds;
    const against = (rival: RivalName): string =>
      cellOf(rounds[rival], (theirs) => withQuartiles(ratios(locker.map(perSecond), theirs.map(perSecond)), ' ×'));
    return [title, server, cellOf(locker, (rounds) => number(median(rounds.map(perSecond)))), against('go'), against('go37')];
  };
  const recallRows = servers.flatMap(({ version, results: { recall } }) => {
    if (recall === undefined) return [];
    const perSecond = median(recall.map(({ recalled }) => 1_000 / median(recalled)));
    const toFree = median(recall.map(({ recalled, plain }) => median(plain) / median(recalled)));
    return [['another process wants a kept lock', version, `${number(perSecond)}, ${number(toFree)} × a free name`, absent, absent]];
  });
  return [
    {
      title: 'Servers: per second, and the ratio to each Go client (lower–upper quartile)',
      headings: ['workload', 'etcd', 'etcd-locker', 'to Go 3.6', 'to Go 3.7'],
      rows: [
        ...mainWorkloads.flatMap((workload) =>
          servers.flatMap(({ version, results }) => {
            const result = rateOf(results, workload);
            return result === undefined ? [] : [rateRow(version, result)];
          }),
        ),
        ...recallRows,
      ],
    },
  ];
}

function delayTables({ delays }: Results): Table[] {
  if (delays.length === 0) return [];
  const rivals = columnsOf(delays);
  return [
    {
      title: 'How long it takes, in ms: median, 99th percentile, longest',
      headings: [
        'workload',
        ...rivals.map((rival) => (rival === 'floor' ? 'raw put, same pace' : rivalTitles[rival])),
        'raw puts in a row',
      ],
      rows: delays.map(({ title, rounds, putsAtOnce }) => [
        title,
        ...[...rivals.map((rival) => rounds[rival]), putsAtOnce].map((samples) => cellOf(samples?.flat(), delaysText)),
      ]),
    },
  ];
}

function delaysText(values: readonly number[]): string {
  return [quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)].map(number).join(', ');
}

function queueTables({ queues }: Results): Table[] {
  if (queues.length === 0) return [];
  const measured: readonly RivalName[] = ['locker', 'go'];
  const cell = (rival: RivalName, text: (rounds: (typeof queues)[number]['rounds']) => string | undefined): string[] =>
    queues.map(({ rounds }) => (rounds[rival] === undefined ? absent : (text(rounds) ?? absent)));
  const columns = measured.map((rival) => ({
    holds: cell(rival, (rounds) => rounds[rival] && withQuartiles(rounds[rival].map(({ holdsPerSecond }) => holdsPerSecond))),
    delays: cell(rival, (rounds) => rounds[rival] && delaysText(rounds[rival].flatMap(({ delays }) => delays))),
    calls: cell(rival, (rounds) => rounds[rival] && waitingText(rounds[rival])),
  }));
  return [
    {
      title: 'Many waiters on one name: turns per second, delay in ms, calls + stream messages in 3 s',
      headings: ['waiters', ...measured.flatMap((rival) => [rivalTitles[rival], 'delay', 'calls'])],
      rows: queues.map(({ waiters }, row) => [
        number(waiters),
        ...columns.flatMap(({ holds, delays, calls }) => [holds[row] ?? absent, delays[row] ?? absent, calls[row] ?? absent]),
      ]),
    },
  ];
}

function waitingText(rounds: readonly QueueRound[]): string {
  const calls = Math.max(...rounds.map(({ callsWhileWaiting }) => callsWhileWaiting));
  return `${calls} + ${number(Math.round(median(rounds.map(({ messagesWhileWaiting }) => messagesWhileWaiting))))}`;
}

function memoryTables({ memory }: { readonly memory?: MemoryResult }): Table[] {
  if (memory === undefined) return [];
  return [
    {
      title: 'Locks held at once',
      headings: ['', 'locks', 'leases', 'heap for each, in bytes', 'resident for each, in bytes'],
      rows: rivalNames.flatMap((rival) => {
        const figures = memory[rival];
        if (figures === undefined) return rival === 'go' ? [[rivalTitles[rival], absent, absent, absent, absent]] : [];
        const { locks, leases, perLock } = figures;
        return [[rivalTitles[rival], number(locks), whole(leases), whole(perLock.heap), whole(perLock.rss)]];
      }),
    },
  ];
}

function whole(value: number): string {
  return value < 100 ? String(Math.round(value)) : number(value);
}

function importTables({ imports }: { readonly imports?: ImportResult }): Table[] {
  if (imports === undefined) return [];
  return [
    {
      title: 'Start of a process, in ms: median (lower–upper quartile)',
      headings: ['what', 'time'],
      rows: [
        ['a process that imports etcd-locker, minus an empty process', withQuartiles(imports.overEmpty)],
        ['import of etcd-locker, by the clock of the process', withQuartiles(imports.imported)],
        ['import and the first answer of etcd', withQuartiles(imports.firstUse)],
        ['for comparison: import of etcd3 alone', withQuartiles(imports.etcd3)],
      ],
    },
  ];
}

function cellOf<T>(values: readonly T[] | undefined, text: (values: readonly T[]) => string): string {
  return values === undefined || values.length === 0 ? absent : text(values);
}
