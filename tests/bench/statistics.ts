/** Median, quantiles and ratios of samples. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: values.reduce((a, b) => Math.max(a, b), -Infinity) };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Returns a quantile, interpolated between two values. Returns NaN for no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(position)], sorted[Math.ceil(position)]];
  if (below === undefined || above === undefined) return Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

/** Returns the spread of the ratios of each round, because the machine's speed varies between rounds. */
export function ratio(ours: readonly number[], theirs: readonly number[]): Spread {
  return spread(ours.slice(0, theirs.length).map((value, round) => value / (theirs[round] ?? Number.NaN)));
}
