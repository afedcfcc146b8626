/** Durations as etcd's people and Go write them: '30s', '500ms', '1m30s', '1.5h'. */

const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
const part = /(\d+(?:\.\d+)?)(h|ms|m|s)/g;
const whole = new RegExp(`^(?:${part.source})+$`);

/** In whole milliseconds; undefined where it is none. A number without a unit is none either, but for 0: who wrote it may have meant any. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!whole.test(text)) return undefined;
  let ms = 0;
  for (const [, amount, unit = ''] of text.matchAll(part)) ms += Number(amount) * (unitsMs[unit] ?? Number.NaN);
  return Math.round(ms);
}
