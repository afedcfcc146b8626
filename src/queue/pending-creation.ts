/** The creation of an acquisition's entry: the request that is under way, how it failed, and the released entry that it deletes. */
import { backoffMs } from '../backoff.ts';
import { type Deferred, deferred } from '../deferred.ts';
import type { Entry } from '../entry/entry.ts';
import type { Sleeper } from './sleeper.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from '../errors.ts';

/** The most operations of a transaction. etcd takes 128, unless `--max-txn-ops` says otherwise. */
const maxOperations = 100;

export class PendingCreation {
  /** The tries that were under way when the caller came. Its entry is created after theirs. */
  readonly earlierTries: readonly object[];
  /** Whether the acquisition sleeps until the entries of earlier callers are created. */
  awaitsTurn = false;
  /** How large a transaction with this creation may be. Each refusal of a shared transaction halves it, to find the one at fault. */
  maxOperations = maxOperations;
  /** A released entry that the creation deletes. */
  old: Entry | undefined;
  #request: Promise<void> | undefined;
  #error: unknown;
  #count = 0;
  #enqueued: Deferred<void> | undefined;

  constructor(earlierTries: readonly object[]) {
    this.earlierTries = earlierTries;
  }

  /** The request that is under way. It never rejects. */
  get request(): Promise<void> | undefined {
    return this.#request;
  }

  start(request: Promise<void>): void {
    this.#count += 1;
    this.#request = request;
  }

  end(error?: unknown): void {
    this.#request = undefined;
    this.#error = error;
  }

  /** Ends the request with an error. A hand-over that failed may be repeated as a plain creation, unless its outcome is unknown. */
  fail(error: unknown): void {
    const isRepeated = this.old !== undefined && !(error instanceof OutcomeUnknownError);
    this.releaseOld();
    this.end(isRepeated || error instanceof LeaseNotFoundError ? undefined : error);
  }

  /** Ends a request that never left this process. */
  endUnsent(): void {
    this.releaseOld();
    this.end();
  }

  /**
   * The pause before the next creation. Each refusal calls for another creation at once, so a gate or an entry that never stays would
   * make an endless loop.
   */
  get pauseMs(): number {
    return this.#count > 1 ? backoffMs(this.#count - 2, { firstMs: 25 }) : 0;
  }

  /** The acquisition has waited, so its next creation needs no pause. */
  resetCount(): void {
    this.#count = 0;
  }

  /** Throws the error of the last request, once. */
  throwError(): void {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error as Error;
  }

  /** The failure was that of an earlier caller. */
  forgetError(): void {
    this.#error = undefined;
  }

  /** Resolves at `notifyEnqueued`. */
  whenEnqueued(): Promise<void> {
    return (this.#enqueued ??= deferred()).promise;
  }

  /** etcd has the entry, or the acquisition has ended. A caller that inherits the acquisition may need another entry. */
  notifyEnqueued(): void {
    this.#enqueued?.resolve();
    this.#enqueued = undefined;
  }

  /** Takes in whether nobody was before the new entry: those behind the old one would be. */
  confirmOldReleased(isFirst: boolean): void {
    if (isFirst) this.old?.onQueueEmpty?.();
    this.old?.confirmReleased();
    this.old = undefined;
  }

  // A hand-over that fails for the next caller's sake must not keep the lock of the previous holder.
  /** Releases the entry of the previous holder, if that is left. Returns whether it was. */
  releaseOld(): boolean {
    const { old } = this;
    this.old = undefined;
    old?.release();
    return old !== undefined;
  }

  /** Sleeps: an earlier caller has no entry yet, and its request may take this one along. A release does not wait for that. */
  async waitForTurn(sleeper: Sleeper): Promise<void> {
    this.releaseOld();
    this.awaitsTurn = true;
    await sleeper.sleep();
    this.awaitsTurn = false;
  }
}
