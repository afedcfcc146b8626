/** The report for the terminal, as aligned plain text. */
import { goalsTable } from './goals.ts';
import type { Results } from './results.ts';
import { tablesOf, type Table } from './tables.ts';

export function terminalReport(results: Results, version: string, notes: readonly string[]): string {
  const goals = goalsTable(results);
  const tables = [...tablesOf(results, version), ...(goals.rows.length > 0 ? [goals] : [])];
  return [...tables.map(aligned), ...notes].join('\n\n');
}

function aligned({ title, headings, rows }: Table): string {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [title, '', line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
