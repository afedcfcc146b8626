/** The creation of an acquisition's entry: the request that is under way, how it failed, and the released entry that it deletes. */
import type { Entry } from '../entry/entry.ts';

/** The most operations of a transaction. etcd takes 128, unless `--max-txn-ops` says otherwise. */
const maxOperations = 100;

export class PendingCreation {
  /** How large a transaction with this creation may be. Each refusal of a shared transaction halves it, to find the one at fault. */
  maxOperations = maxOperations;
  /** A released entry that the creation deletes. */
  old: Entry | undefined;
  #request: Promise<void> | undefined;
  #error: unknown;

  /** The request that is under way. It never rejects. */
  get request(): Promise<void> | undefined {
    return this.#request;
  }

  start(request: Promise<void>): void {
    this.#request = request;
  }

  end(error?: unknown): void {
    this.#request = undefined;
    this.#error = error;
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

  confirmOldReleased(): void {
    this.old?.confirmReleased();
    this.old = undefined;
  }

  // A hand-over that fails for the next caller's sake must not keep the lock of the previous holder.
  releaseOld(): void {
    this.old?.release();
    this.old = undefined;
  }
}
