/**
 * Many commits in one request: what is asked for in one turn, or while enough requests are under way, goes out together.
 *
 * etcd takes transactions nested in a transaction, each with its own compares, in one round trip and one write to its log. A lone
 * commit goes out plain and at once. Within a request all compares are judged before the first write and all writes bear one
 * revision, so no two commits on one lane (one name) may share it. A batch that was refused was not applied, and its commits
 * go out one by one, so that one caller's fault never hits another; an unknown outcome is unknown for each of them.
 */
import { type Deferred, deferred } from '../../deferred.ts';
import { EtcdRefusedError, EtcdUnavailableError } from '../../errors.ts';
import { type Committed, OutcomeUnknownError } from '../store.ts';
import { decodeBatch, decodeCommitted } from './wire/decode.ts';
import { methods } from './raw-client.ts';
import { CallFailure, status } from './call-failure.ts';
import type { Host } from './host.ts';
import type { Hosts, RequestOptions } from './hosts.ts';
import { encodeBatch } from './wire/encode.ts';

/** What it needs of the hosts. */
export type Sender = Pick<Hosts, 'current' | 'tryMs' | 'request'>;

export interface Commit extends RequestOptions {
  /** The transaction as it goes over the wire. */
  readonly request: Buffer;
  /** How many compares it has, or operations in a branch: the most of them. */
  readonly operations: number;
  readonly lane: string;
  readonly sharesLane?: boolean | undefined;
  readonly timeoutMs: number;
}

interface Waiting extends Commit {
  readonly since: number;
  readonly answer: Deferred<Committed>;
}

const maxUnderWay = 2;
const maxBytes = 512 * 1024;
/** What one level of `--max-txn-ops` (128 for both together) leaves a commit of its own. */
const maxOperations = 60;

export class Batcher {
  readonly #hosts: Sender;
  #waiting: Waiting[] = [];
  #underWay = 0;
  #isScheduled = false;
  #maxCommits = 64;

  constructor(hosts: Sender) {
    this.#hosts = hosts;
  }

  /** Rejects as `Hosts.request` does. */
  commit(commit: Commit): Promise<Committed> {
    const isAlone = this.#maxCommits === 1 || commit.operations > maxOperations;
    if (isAlone) return this.#plain(commit, commit.timeoutMs);
    const waiting: Waiting = { ...commit, since: performance.now(), answer: deferred() };
    this.#waiting.push(waiting);
    if (!this.#isScheduled && this.#underWay < maxUnderWay) {
      this.#isScheduled = true;
      // Behind all promises of this turn, so that what they commit goes along.
      process.nextTick(() => {
        this.#isScheduled = false;
        this.#flush();
      });
    }
    return waiting.answer.promise;
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#underWay < maxUnderWay) {
      this.#underWay += 1;
      void this.#send(this.#take()).finally(() => {
        this.#underWay -= 1;
        this.#flush();
      });
    }
  }

  /** The next batch: in order, but a second commit on a lane waits for the next one. */
  #take(): Waiting[] {
    /** Whether another may join. */
    const lanes = new Map<string, boolean>();
    const batch: Waiting[] = [];
    const rest: Waiting[] = [];
    let bytes = 0;
    for (const commit of this.#waiting) {
      const fits = batch.length === 0 || (batch.length < this.#maxCommits && bytes + commit.request.length <= maxBytes);
      const { lane, sharesLane = false } = commit;
      const isIn = fits && (!lanes.has(lane) || (sharesLane && lanes.get(lane) === true));
      if (isIn) {
        batch.push(commit);
        bytes += commit.request.length;
      } else {
        rest.push(commit);
      }
      // What comes after one that was left behind must not overtake it.
      lanes.set(lane, isIn && sharesLane);
    }
    this.#waiting = rest;
    return batch;
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length === 1 || !(await this.#hosts.current.checksNestedPermissions(this.#hosts.tryMs))) {
      await this.#sendEach(batch);
      return;
    }
    const timeoutMs = Math.min(...batch.map(timeLeft));
    try {
      const answers = await this.#hosts.request((host, tryMs) => this.#nested(host, batch, tryMs), {
        once: batch.some(({ once }) => once === true),
        timeoutMs,
      });
      batch.forEach(({ answer }, index) => {
        const committed = answers[index];
        if (committed !== undefined) answer.resolve(committed);
      });
    } catch (error) {
      if (error instanceof EtcdRefusedError && /too many operations/.test(error.message))
        this.#maxCommits = Math.max(1, this.#maxCommits >> 1);
      const again: Waiting[] = [];
      for (const commit of batch) {
        const isOver =
          error instanceof EtcdUnavailableError ? timeLeft(commit) <= 1 : error instanceof OutcomeUnknownError && commit.once === true;
        if (isOver) commit.answer.reject(error);
        else again.push(commit);
      }
      await this.#sendEach(again);
    }
  }

  async #nested(host: Host, batch: readonly Waiting[], tryMs: number): Promise<Committed[]> {
    // Another host than the one that was asked: let it be sent one by one.
    if (!(await host.checksNestedPermissions(tryMs)))
      throw new CallFailure(status.failedPrecondition, 'nested permissions are not checked');
    const request = encodeBatch(batch.map((commit) => commit.request));
    return decodeBatch(await host.call(tryMs, methods.txn, request), batch.length);
  }

  async #sendEach(batch: readonly Waiting[]): Promise<void> {
    await Promise.all(
      batch.map(async (commit) => {
        try {
          commit.answer.resolve(await this.#plain(commit, timeLeft(commit)));
        } catch (error) {
          commit.answer.reject(error);
        }
      }),
    );
  }

  async #plain({ request, once }: Commit, timeoutMs: number): Promise<Committed> {
    // Read within the try: an answer that says nothing leaves the outcome unknown.
    return this.#hosts.request(async (host, tryMs) => decodeCommitted(await host.call(tryMs, methods.txn, request)), { once, timeoutMs });
  }
}

const timeLeft = ({ since, timeoutMs }: Waiting): number => Math.max(1, timeoutMs - (performance.now() - since));
