/**
 * Finds TTLs that are too short for the way to etcd.
 *
 * A renewal takes two round trips. If it takes more than a third of the TTL, sessions end before they are renewed, and callers would
 * open one after the other for ever. One such session proves nothing, because its opening includes the making of a connection. So two
 * sessions in a row have to end that way.
 */
import type { Instant } from '../clock.ts';
import type { Context } from '../context.ts';
import { TtlTooShortError } from '../errors.ts';
import type { Session } from './session.ts';

interface Finding {
  readonly count: number;
  readonly roundTripMs: number;
  readonly at: Instant;
}

const enough = 2;

export class ShortTtls {
  readonly #context: Context;
  readonly #findings = new Map<number, Finding>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Takes in the end of a session whose opening began at `startedAt`. */
  onEnd({ ttlSeconds, ttlMs, marginMs, renewals }: Session, startedAt: Instant): void {
    const { clock, store } = this.#context;
    const now = clock.now();
    const roundTripMs = store.roundTripMs?.() ?? 0;
    const isOver = now.monotonicMs - startedAt.monotonicMs >= ttlMs - marginMs;
    if (renewals > 0) this.#findings.delete(ttlSeconds);
    else if (isOver && roundTripMs > ttlMs / 6)
      this.#findings.set(ttlSeconds, { count: (this.#findings.get(ttlSeconds)?.count ?? 0) + 1, roundTripMs, at: now });
  }

  /** @throws {TtlTooShortError} the last sessions of that TTL ended before they could be renewed, less than a TTL ago */
  check(ttlSeconds: number): void {
    const finding = this.#findings.get(ttlSeconds);
    if (finding === undefined || finding.count < enough) return;
    const ageMs = this.#context.clock.now().monotonicMs - finding.at.monotonicMs;
    if (ageMs < ttlSeconds * 1000) throw new TtlTooShortError(ttlSeconds * 1000, finding.roundTripMs);
    // The way to etcd may be shorter by now: one more session shows it.
    this.#findings.set(ttlSeconds, { ...finding, count: enough - 1 });
  }
}
