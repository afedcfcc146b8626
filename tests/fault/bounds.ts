/** The bound on the time that a wanted name may be without a holder. */

/** The timing of each cluster. It elects a new leader long before a lease expires. */
export const timing = { heartbeatMs: 50, electionMs: 500 };

export interface Times {
  readonly ttlMs: number;
  /** The time without a quorum, or in which no client can reach etcd. @default 0 */
  readonly outageMs?: number | undefined;
  readonly requestTimeoutMs: number;
}

/** The delay that an overloaded machine may add. */
const slackMs = 2_500;
/** The interval at which etcd checks for expired leases. */
const leaseScanMs = 500;

/**
 * The worst case: a holder dies just after its renewal, and then the leader dies. A new leader is elected at the second attempt.
 * It renews each lease for its TTL and an election timeout. When the lease expires, the event of the deletion is lost, so the
 * waiter sees the deletion with its next look, TTL/3 later. One request to a dead member lasts until its timeout.
 */
export function livenessBoundMs({ ttlMs, requestTimeoutMs, outageMs = 0 }: Times): number {
  const electionsMs = 2 * 2 * timing.electionMs;
  return outageMs + electionsMs + ttlMs + timing.electionMs + leaseScanMs + ttlMs / 3 + requestTimeoutMs + slackMs;
}
