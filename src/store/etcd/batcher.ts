/**
 * Many commits in one request: what is asked for in one turn, or while enough requests are under way, goes out together.
 *
 * etcd takes transactions nested in a transaction, each with its own compares, in one round trip and one write to its log. A lone
 * commit goes out plain and at once. Within a request all compares are judged before the first write and all writes bear one
 * revision, so no two commits on one lane (one name) may share it. A batch that was refused was not applied, and its commits
 * go out one by one, so that one caller's fault never hits another; an unknown outcome is unknown for each of them.
 */
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import { type Deferred, deferred } from '../../deferred.ts';
import { EtcdRefusedError, EtcdUnavailableError } from '../../errors.ts';
import { OutcomeUnknownError } from '../store.ts';
import { CallFailure, status } from './failures.ts';
import type { Host } from './host.ts';
import type { Hosts, RequestOptions } from './hosts.ts';

/** What it needs of the hosts. */
export type Sender = Pick<Hosts, 'current' | 'tryMs' | 'request'>;

export interface Commit extends RequestOptions {
  readonly request: ITxnRequest;
  readonly lane: string;
  readonly sharesLane?: boolean | undefined;
  readonly timeoutMs: number;
}

interface Waiting extends Commit {
  readonly since: number;
  readonly bytes: number;
  readonly answer: Deferred<ITxnResponse>;
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
  commit(commit: Commit): Promise<ITxnResponse> {
    const isAlone = this.#maxCommits === 1 || sizeOf(commit.request) > maxOperations;
    if (isAlone) return this.#plain(commit, commit.timeoutMs);
    const waiting: Waiting = { ...commit, since: performance.now(), bytes: bytesOf(commit.request), answer: deferred() };
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
      const fits = batch.length === 0 || (batch.length < this.#maxCommits && bytes + commit.bytes <= maxBytes);
      const { lane, sharesLane = false } = commit;
      const isIn = fits && (!lanes.has(lane) || (sharesLane && lanes.get(lane) === true));
      if (isIn) {
        batch.push(commit);
        bytes += commit.bytes;
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
      const { header, responses } = await this.#hosts.request((host, tryMs) => this.#nested(host, batch, tryMs), {
        once: batch.some(({ once }) => once === true),
        timeoutMs,
      });
      batch.forEach(({ answer }, index) => {
        const inner = responses[index]?.response_txn;
        // The header of a nested answer is empty; the revision of all of them is that of the whole.
        if (inner === undefined) answer.reject(new TypeError('Cannot read the answer of etcd: it has too few parts'));
        else answer.resolve({ ...inner, header });
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

  async #nested(host: Host, batch: readonly Waiting[], tryMs: number): Promise<ITxnResponse> {
    // Another host than the one that was asked: let it be sent one by one.
    if (!(await host.checksNestedPermissions(tryMs)))
      throw new CallFailure(status.failedPrecondition, 'nested permissions are not checked');
    const success = batch.map(({ request }) => ({ request_txn: request }));
    return host.call(tryMs, ({ kv }, options) => kv.txn({ compare: [], success, failure: [] }, options));
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

  #plain({ request, once }: Commit, timeoutMs: number): Promise<ITxnResponse> {
    return this.#hosts.request((host, tryMs) => host.call(tryMs, ({ kv }, options) => kv.txn(request, options)), { once, timeoutMs });
  }
}

const timeLeft = ({ since, timeoutMs }: Waiting): number => Math.max(1, timeoutMs - (performance.now() - since));

const sizeOf = ({ compare = [], success = [], failure = [] }: ITxnRequest): number =>
  Math.max(compare.length, success.length, failure.length);

// Names and values make the size; what the rest adds is about the same for each operation.
const bytesOf = ({ compare = [], success = [], failure = [] }: ITxnRequest): number =>
  [...success, ...failure].reduce(
    (sum, { request_put: put, request_range: range }) =>
      sum + 32 + (put?.key?.length ?? 0) + (put?.value?.length ?? 0) + 2 * (range?.key?.length ?? 0),
    compare.reduce((sum, { key }) => sum + 32 + (key?.length ?? 0), 0),
  );
