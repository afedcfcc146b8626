/** Median, quartiles and ratios of samples. */

export interface Quartiles {
  readonly lower: number;
  readonly median: number;
  readonly upper: number;
}

export function quartiles(values: readonly number[]): Quartiles {
  return { lower: quantile(values, 0.25), median: median(values), upper: quantile(values, 0.75) };
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

/** Returns the ratio of each round, because the speed of the machine varies between rounds. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.slice(0, theirs.length).map((value, round) => value / (theirs[round] ?? Number.NaN));
}

/** 'open' if the goal is between the quartiles: a further run may find either. */
export type Verdict = 'met' | 'open' | 'missed';

/** Judges by the quartiles, so that a few rounds on a busy machine do not decide. */
export function judge(values: readonly number[], goal: number, direction: 'at least' | 'at most'): Verdict {
  const { lower, upper } = quartiles(values);
  const [worse, better] = direction === 'at least' ? [lower, upper] : [-upper, -lower];
  const wanted = direction === 'at least' ? goal : -goal;
  if (worse >= wanted) return 'met';
  return better < wanted ? 'missed' : 'open';
}
