/** How long a name that is wanted may be without a holder. */

/** Of every cluster here: new leaders are to be there long before a lease is over. */
export const timing = { heartbeatMs: 50, electionMs: 500 };

export interface Times {
  readonly ttlMs: number;
  /** For how long there is no quorum, or nobody who could renew or take. @default 0 */
  readonly outageMs?: number | undefined;
  readonly requestTimeoutMs: number;
}

/** What a machine with more to do than it has time for may add. */
const slackMs = 2_500;
/** etcd looks for leases that are over so often. */
const leaseScanMs = 500;

/**
 * The worst is a holder that dies just after its renewal and just before its leader: a new leader is elected, at the second attempt,
 * and gives each lease its whole TTL and an election timeout more. Then its entry is deleted, and should the event be lost the
 * waiter's next look, a third of the TTL later, finds it so; one request that meets a dead member takes its whole time.
 */
export function livenessBoundMs({ ttlMs, requestTimeoutMs, outageMs = 0 }: Times): number {
  const electionsMs = 2 * 2 * timing.electionMs;
  return outageMs + electionsMs + ttlMs + timing.electionMs + leaseScanMs + ttlMs / 3 + requestTimeoutMs + slackMs;
}
