/**
 * One commit on its way through the batcher.
 *
 * It keeps its own deadline: it is settled by its response, or rejected when its time is up, however long its batch goes on.
 */
import { type Deferred, deferred } from '../../deferred.ts';
import { EtcdUnavailableError, type HostFailure, OutcomeUnknownError } from '../../errors.ts';
import type { Committed } from '../store.ts';
import type { Limited } from './deadlines.ts';
import type { RequestOptions } from './hosts.ts';

export interface Commit extends Pick<RequestOptions, 'once'> {
  /** The transaction in the wire format. */
  readonly request: Buffer;
  /** The number of compares, or of operations in a branch: the largest of them. */
  readonly operations: number;
  readonly lane: string;
  readonly isIndependent?: boolean | undefined;
  readonly timeoutMs: number;
}

/** What a commit needs of the batch that it was sent in. */
interface SentIn {
  readonly isSent: boolean;
  failures(): HostFailure[];
}

export class PendingCommit implements Limited {
  readonly commit: Commit;
  readonly until: number;
  readonly #result: Deferred<Committed> = deferred();
  #batch: SentIn | undefined;
  #isSettled = false;

  constructor(commit: Commit) {
    this.commit = commit;
    this.until = performance.now() + commit.timeoutMs;
  }

  get promise(): Promise<Committed> {
    return this.#result.promise;
  }

  get timeLeftMs(): number {
    return this.until - performance.now();
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  sendIn(batch: SentIn): void {
    this.#batch = batch;
  }

  resolve(committed: Committed): void {
    this.#isSettled = true;
    this.#result.resolve(committed);
  }

  reject(error: unknown): void {
    this.#isSettled = true;
    this.#result.reject(error);
  }

  /** Rejects because the time is up. The batch goes on for the other commits. */
  expire(): void {
    if (this.#isSettled) return;
    const { once = false, timeoutMs } = this.commit;
    const hosts = this.#batch?.failures() ?? [];
    const isUnknown = once && this.#batch?.isSent === true;
    this.reject(isUnknown ? new OutcomeUnknownError(hosts) : new EtcdUnavailableError(Math.round(timeoutMs), hosts));
  }
}
