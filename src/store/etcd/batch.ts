/**
 * One request of several commits, and the choice of those that share it.
 *
 * A request holds at most one commit of a lane, or any number of independent ones. Commits of one lane keep their order.
 */
import type { HostFailure } from '../../errors.ts';
import { CallFailure, noResponse, status, toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import type { PendingCommit } from './pending-commit.ts';
import { methods } from './raw-client.ts';
import { decodeBatch } from './wire/decode.ts';
import { encodeBatch } from './wire/encode.ts';

export interface BatchLimits {
  readonly maxCommits: number;
  readonly maxBytes: number;
}

/** Splits the waiting commits into the next batch and the rest. A second commit of a lane waits for a later batch. */
export function takeBatch(waiting: readonly PendingCommit[], { maxCommits, maxBytes }: BatchLimits): [PendingCommit[], PendingCommit[]] {
  /** Whether another independent commit of the lane may join. */
  const lanes = new Map<string, boolean>();
  const batch: PendingCommit[] = [];
  const rest: PendingCommit[] = [];
  let bytes = 0;
  for (const pending of waiting) {
    if (pending.isSettled) continue;
    const { lane, isIndependent = false, request } = pending.commit;
    const fits = batch.length === 0 || (batch.length < maxCommits && bytes + request.length <= maxBytes);
    const mayJoin = lanes.get(lane);
    const isIn = fits && (mayJoin === undefined || (isIndependent && mayJoin));
    if (isIn) {
      batch.push(pending);
      bytes += request.length;
    } else {
      rest.push(pending);
    }
    // A commit must not overtake one of its lane that stays behind.
    lanes.set(lane, isIn && isIndependent);
  }
  return [batch, rest];
}

/** The commits of one request, and the reasons why its tries failed. */
export class Batch {
  readonly #commits: readonly PendingCommit[];
  readonly #reasons = new Map<string, string>();
  #host: Host | undefined;
  #sentAt = 0;

  constructor(commits: readonly PendingCommit[]) {
    this.#commits = commits;
    for (const pending of commits) pending.sendIn(this);
  }

  get open(): readonly PendingCommit[] {
    return this.#commits.filter(({ isSettled }) => !isSettled);
  }

  get options(): { once: boolean; timeoutMs: number } {
    return {
      once: this.#commits.some(({ commit }) => commit.once === true),
      timeoutMs: Math.max(0, Math.max(...this.#commits.map(({ until }) => until)) - performance.now()),
    };
  }

  get isSent(): boolean {
    return this.#host !== undefined;
  }

  failures(): HostFailure[] {
    const reasons = new Map(this.#reasons);
    const host = this.#host?.address;
    if (host !== undefined && !reasons.has(host)) reasons.set(host, noResponse(performance.now() - this.#sentAt).details);
    return [...reasons].map(([address, reason]) => ({ host: address, reason }));
  }

  /** Sends the commits that are not settled yet, and resolves them. */
  async send(host: Host, tryMs: number): Promise<void> {
    try {
      // A host that does not check nested permissions gets its commits one by one.
      if (!(await host.checksNestedPermissions(tryMs)))
        throw new CallFailure(status.failedPrecondition, 'nested permissions are not checked');
      // Now and not before: a commit that counts as not sent must not be sent.
      const commits = this.open;
      this.#host = host;
      this.#sentAt = performance.now();
      const request = encodeBatch(commits.map(({ commit }) => commit.request));
      const committed = decodeBatch(await host.call(tryMs, methods.txn, request), commits.length);
      commits.forEach((pending, index) => {
        const own = committed[index];
        if (own !== undefined) pending.resolve(own);
      });
    } catch (error) {
      this.#reasons.set(host.address, toFailure(error).details);
      throw error;
    }
  }
}
