/** The table of a run, with one line for each scenario. */
import type { Figures } from './judge.ts';

export interface Row extends Figures {
  readonly scenario: string;
  readonly boundMs: number;
  readonly violations: number;
  readonly tookMs: number;
}

const columns: readonly (readonly [title: string, cell: (row: Row) => string])[] = [
  ['scenario', ({ scenario }) => scenario],
  ['faults', ({ faults }) => String(faults)],
  ['locks', ({ locks }) => String(locks)],
  ['lost', ({ losses }) => String(losses)],
  ['guarded writes', ({ increments }) => String(increments)],
  ['refused writes', ({ refusedWrites }) => String(refusedWrites)],
  ['longest time without a holder / bound', ({ longestGapMs, boundMs }) => `${seconds(longestGapMs)} / ${seconds(boundMs)} s`],
  ['violations', ({ violations }) => String(violations)],
  ['duration', ({ tookMs }) => `${seconds(tookMs)} s`],
];

export function tableOf(rows: readonly Row[]): string {
  const lines = [...rows, totalOf(rows)].map((row) => columns.map(([, cell]) => cell(row)));
  const all = [columns.map(([title]) => title), ...lines];
  const widths = columns.map((_, index) => Math.max(...all.map((line) => line[index]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    line.map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0))).join('  ');
  return all.map(format).join('\n');
}

/** The sums, and the gap that is nearest to its bound. */
function totalOf(rows: readonly Row[]): Row {
  const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const nearest = rows.reduce<Row | undefined>(
    (worst, row) => (worst === undefined || row.longestGapMs / row.boundMs > worst.longestGapMs / worst.boundMs ? row : worst),
    undefined,
  );
  return {
    scenario: `all ${String(rows.length)}`,
    faults: sum(({ faults }) => faults),
    locks: sum(({ locks }) => locks),
    losses: sum(({ losses }) => losses),
    increments: sum(({ increments }) => increments),
    refusedWrites: sum(({ refusedWrites }) => refusedWrites),
    longestGapMs: nearest?.longestGapMs ?? 0,
    boundMs: nearest?.boundMs ?? 0,
    violations: sum(({ violations }) => violations),
    tookMs: sum(({ tookMs }) => tookMs),
  };
}

const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
