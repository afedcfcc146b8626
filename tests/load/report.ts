/** The length of the load tests, and the output of their figures. */

/** LOAD=long takes some minutes and needs an idle machine. The short form is part of all tests. */
export const isLong = process.env['LOAD'] === 'long';

/** Prints one line of figures. */
export function report(title: string, figures: Readonly<Record<string, number | string>>): void {
  const texts = Object.entries(figures).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? value.toFixed(value < 100 ? 1 : 0) : value}`,
  );
  process.stdout.write(`${title}: ${texts.join(', ')}\n`);
}
