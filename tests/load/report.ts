/** How long the load lasts, and the figures that it ends with. */

/** LOAD=long is for a quiet machine and some minutes of patience; the short form is part of all tests. */
export const isLong = process.env['LOAD'] === 'long';

/** One line, for whoever reads the run. */
export function report(what: string, figures: Readonly<Record<string, number | string>>): void {
  const told = Object.entries(figures).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? value.toFixed(value < 100 ? 1 : 0) : value}`,
  );
  process.stdout.write(`${what}: ${told.join(', ')}\n`);
}
