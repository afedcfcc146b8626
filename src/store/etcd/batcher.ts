/**
 * Sends many commits in one request: those of one tick, and those that arrive while enough requests are under way.
 *
 * etcd takes transactions nested in a transaction, each with its own compares, in one round trip and one write to its log. A lone
 * commit goes out plain and at once.
 * - etcd judges all compares of a request before its first write, and all its writes have one revision. So two commits of one lane
 *   (one name) share a request only if both are independent.
 * - A request that etcd refused was not applied. Its commits go out one by one, so one caller's fault does not hit another.
 * - An unknown outcome is unknown for each commit.
 * - Each commit keeps its own deadline. The request runs until the latest of them.
 */
import { EtcdRefusedError, EtcdUnavailableError, OutcomeUnknownError } from '../../errors.ts';
import type { Committed } from '../store.ts';
import { Batch, takeBatch } from './batch.ts';
import { Deadlines } from './deadlines.ts';
import { type Hosts, shortestTryMs } from './hosts.ts';
import { type Commit, PendingCommit } from './pending-commit.ts';
import { methods } from './raw-client.ts';
import { decodeCommitted } from './wire/decode.ts';

/** The part of `Hosts` that the batcher uses. */
export type Sender = Pick<Hosts, 'current' | 'tryMs' | 'request'>;

const maxUnderWay = 2;
/** The share of `--max-txn-ops` (128 for both levels together) that a nested commit may use. */
const maxOperations = 60;

export class Batcher {
  readonly #hosts: Sender;
  readonly #deadlines = new Deadlines(() => this.#pending());
  /** The batches under way. Their requests do not keep the deadline of each commit. */
  readonly #sent = new Set<readonly PendingCommit[]>();
  #waiting: PendingCommit[] = [];
  #underWay = 0;
  #isScheduled = false;
  #maxCommits = 64;
  #maxBytes = 512 * 1024;

  constructor(hosts: Sender) {
    this.#hosts = hosts;
  }

  /** Resolves with the response to the commit. Rejects as `Hosts.request` does. */
  commit(commit: Commit): Promise<Committed> {
    if (this.#maxCommits === 1 || commit.operations > maxOperations) return this.#sendPlain(commit, commit.timeoutMs);
    const pending = new PendingCommit(commit);
    this.#waiting.push(pending);
    this.#deadlines.add(pending);
    if (!this.#isScheduled && this.#underWay < maxUnderWay) {
      this.#isScheduled = true;
      // After all promises of this tick, so that their commits join the batch.
      process.nextTick(() => {
        this.#isScheduled = false;
        this.#flush();
      });
    }
    return pending.promise;
  }

  /** Leaves no timer behind. */
  close(): void {
    this.#deadlines.close();
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#underWay < maxUnderWay) {
      const [batch, rest] = takeBatch(this.#waiting, { maxCommits: this.#maxCommits, maxBytes: this.#maxBytes });
      this.#waiting = rest;
      this.#underWay += 1;
      void this.#send(batch);
    }
  }

  /** The commits whose deadlines no request keeps. */
  *#pending(): Generator<PendingCommit, void, undefined> {
    yield* this.#waiting;
    for (const commits of this.#sent) yield* commits;
  }

  async #send(commits: readonly PendingCommit[]): Promise<void> {
    try {
      const rest = commits.length > 1 ? await this.#sendTogether(commits) : commits;
      await Promise.all(rest.map((pending) => this.#sendAlone(pending)));
    } finally {
      this.#underWay -= 1;
      this.#flush();
    }
  }

  /** Returns the commits that go out again, one by one. */
  async #sendTogether(commits: readonly PendingCommit[]): Promise<readonly PendingCommit[]> {
    const { current, tryMs } = this.#hosts;
    this.#sent.add(commits);
    try {
      if (!(await current.checksNestedPermissions(tryMs))) return commits;
      const nowMs = performance.now();
      const inTime = commits.filter((pending) => isInTime(pending, nowMs));
      if (inTime.length < 2) return inTime;
      const batch = new Batch(inTime);
      try {
        await this.#hosts.request((host, timeoutMs) => batch.send(host, timeoutMs), batch.options);
      } catch (error) {
        if (error instanceof EtcdRefusedError) this.#makeSmaller(error.message);
        for (const pending of batch.open) if (isFinal(error, pending)) pending.reject(error);
      }
      return batch.open;
    } finally {
      this.#sent.delete(commits);
    }
  }

  // The limits of the server are lower than its defaults.
  #makeSmaller(refusal: string): void {
    if (/too many operations/.test(refusal)) this.#maxCommits = Math.max(1, this.#maxCommits >> 1);
    if (/request is too large|larger than max/.test(refusal)) this.#maxBytes >>= 1;
  }

  // From here on the request keeps the deadline, and has better reasons for its error.
  async #sendAlone(pending: PendingCommit): Promise<void> {
    if (!isInTime(pending, performance.now())) return;
    try {
      pending.resolve(await this.#sendPlain(pending.commit, pending.timeLeftMs));
    } catch (error) {
      pending.reject(error);
    }
  }

  async #sendPlain({ request, once }: Commit, timeoutMs: number): Promise<Committed> {
    // Decoded within the try: a response that cannot be read leaves the outcome unknown.
    return this.#hosts.request(async (host, tryMs) => decodeCommitted(await host.call(tryMs, methods.txn, request)), { once, timeoutMs });
  }
}

/** With less time the commit is refused before it is sent. */
function isInTime(pending: PendingCommit, nowMs: number): boolean {
  if (pending.isSettled) return false;
  const isEnough = pending.until - nowMs > shortestTryMs;
  if (!isEnough) pending.expire();
  return isEnough;
}

/** Whether the failure of its batch is the commit's own failure. Otherwise it goes out again, alone. */
function isFinal(error: unknown, { commit, timeLeftMs }: PendingCommit): boolean {
  if (error instanceof EtcdUnavailableError) return timeLeftMs <= shortestTryMs;
  return error instanceof OutcomeUnknownError && commit.once === true;
}
