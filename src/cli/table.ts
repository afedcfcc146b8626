/** Formats tables for a terminal. Names and values come from any client of etcd, so cells have their control characters escaped. */
import { escapeControls } from '../text.ts';

const maxCellWidth = 60;

/** Escapes the text and shortens it to one cell of a table. */
export function formatCell(text: string): string {
  const characters = Array.from(escapeControls(text));
  return characters.length > maxCellWidth ? `${characters.slice(0, maxCellWidth - 1).join('')}…` : characters.join('');
}

const widthOf = (text: string): number => Array.from(text).length;

/** Aligns the columns with two spaces between them. The first row is the header; the last column is not padded. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => widthOf(row[column] ?? ''))));
  return rows
    .map(
      (row) =>
        `${row
          .map((text, column) => pad(text, widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - widthOf(text)));
