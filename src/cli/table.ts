/** Text for a terminal: columns, and nothing in them that a terminal would take for a command. */
import { escapeControls } from '../text.ts';

const longest = 60;

/** As one cell of a table. */
export function cell(text: string): string {
  const characters = Array.from(escapeControls(text));
  return characters.length > longest ? `${characters.slice(0, longest - 1).join('')}…` : characters.join('');
}

const widthOf = (text: string): number => Array.from(text).length;

/** Lines of columns with two spaces between, the header first; the last column is not filled up. */
export function table(rows: readonly (readonly string[])[]): string {
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
