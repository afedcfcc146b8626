/** The results as tables of text, for the terminal and for the document. */
import { totalCalls } from './metrics.ts';
import {
  rivalNames,
  rivalTitles,
  type ImportResult,
  type MemoryResult,
  type QueueRound,
  type Results,
  type RivalName,
  type Round,
} from './results.ts';
import { median, quantile, spread } from './statistics.ts';

export interface Table {
  readonly title: string;
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export const absent = '-';
const rivals = rivalNames.map((rival) => rivalTitles[rival]);

export function tablesOf(results: Results): Table[] {
  return [...rateTables(results), ...delayTables(results), ...queueTables(results), ...memoryTables(results), ...importTables(results)];
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

function range(values: readonly number[]): string {
  const { median, min, max } = spread(values);
  return `${number(median)} (${number(min)}–${number(max)})`;
}

function rateTables({ rates }: Results): Table[] {
  if (rates.length === 0) return [];
  const table = (title: string, cell: (rounds: readonly Round[]) => string): Table => ({
    title,
    headings: ['workload', ...rivals],
    rows: rates.map(({ title, rounds }) => [title, ...rivalNames.map((rival) => cellOf(rounds[rival], cell))]),
  });
  return [
    table('Per second: median (lowest–highest round)', (rounds) => range(rounds.map(perSecond))),
    table('Requests to etcd for each, messages on streams included', (rounds) => callsText(rounds)),
    table('Processor time for each, in µs: its own processes + etcd', (rounds) => {
      const own = median(rounds.map(({ cpuMs, operations }) => (1_000 * cpuMs) / operations));
      return `${number(own)} + ${number(median(rounds.map(({ serverCpuMs, operations }) => (1_000 * serverCpuMs) / operations)))}`;
    }),
  ];
}

export function perSecond({ operations, seconds }: Round): number {
  return operations / seconds;
}

/** Returns the calls per operation over all rounds. */
export function callsPerOperation(rounds: readonly Round[]): number {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return sum(rounds.map(({ calls }) => totalCalls(calls))) / sum(rounds.map(({ operations }) => operations));
}

function callsText(rounds: readonly Round[]): string {
  const calls = callsPerOperation(rounds);
  return Number.isInteger(calls) ? String(calls) : calls.toFixed(calls < 10 ? 3 : 1);
}

function delayTables({ delays }: Results): Table[] {
  if (delays.length === 0) return [];
  return [
    {
      title: 'How long it takes, in ms: median, 99th percentile, longest',
      headings: [
        'workload',
        ...rivalNames.map((rival) => (rival === 'floor' ? 'raw put, same pace' : rivalTitles[rival])),
        'raw puts in a row',
      ],
      rows: delays.map(({ title, rounds, putsAtOnce }) => [
        title,
        ...[...rivalNames.map((rival) => rounds[rival]), putsAtOnce].map((samples) => cellOf(samples?.flat(), delaysText)),
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
    holds: cell(rival, (rounds) => rounds[rival] && range(rounds[rival].map(({ holdsPerSecond }) => holdsPerSecond))),
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
      title: 'Start of a process, in ms: median (lowest–highest child)',
      headings: ['what', 'time'],
      rows: [
        ['import of etcd-locker', range(imports.imported)],
        ['import and the first answer of etcd', range(imports.firstUse)],
        ['for comparison: import of etcd3 alone', range(imports.etcd3)],
      ],
    },
  ];
}

function cellOf<T>(values: readonly T[] | undefined, text: (values: readonly T[]) => string): string {
  return values === undefined || values.length === 0 ? absent : text(values);
}
