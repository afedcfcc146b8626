/** The delay before a retry. It doubles from retry to retry, and jitter keeps processes from retrying in step. */

interface BackoffLimits {
  readonly firstMs?: number;
  readonly maxMs?: number;
}

/** Returns the delay in milliseconds before retry number `retry`, counted from 0. Jitter takes off up to a fifth of it. */
export function backoffMs(retry: number, { firstMs = 50, maxMs = 1_000 }: BackoffLimits = {}): number {
  return Math.min(firstMs * 2 ** retry, maxMs) * (1 - Math.random() / 5);
}
