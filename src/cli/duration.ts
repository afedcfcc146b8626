/** Parses durations in the notation of etcd and Go: '30s', '500ms', '1m30s', '1.5h'. */

const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
const part = /(\d+(?:\.\d+)?)(h|ms|m|s)/g;
const whole = new RegExp(`^(?:${part.source})+$`);

/** Returns whole milliseconds, or undefined if the text is no duration. Only 0 needs no unit: for another number the unit is unclear. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!whole.test(text)) return undefined;
  let ms = 0;
  for (const [, amount, unit = ''] of text.matchAll(part)) ms += Number(amount) * (unitsMs[unit] ?? Number.NaN);
  return Math.round(ms);
}
