/** Text for a terminal: columns, and nothing in them that a terminal would take for a command. */

// C0 and C1 controls, line separators, and what turns the direction of a line around.
const hostile = /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Values come from whoever may write to etcd. */
export const printable = (text: string): string => text.replaceAll(hostile, escaped);

const longest = 60;

/** As one cell of a table. */
export function cell(text: string): string {
  const characters = Array.from(printable(text));
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
