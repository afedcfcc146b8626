/** The second phase of a loss: it notifies the holder in a microtask, or earlier if the user reads the handle. */
import type { LossReason } from '../errors.ts';

/** `cause` is why the lock was lost, as far as that is known. */
export type OnLost = (reason: LossReason, cause?: Error) => void;

export class LossNotice {
  #pending: (() => void) | undefined;

  /** Calls `onLost` in a microtask, or when `deliver` is called. */
  schedule(onLost: OnLost, reason: LossReason, cause?: Error): void {
    this.#pending = () => {
      onLost(reason, cause);
    };
    queueMicrotask(() => {
      this.deliver();
    });
  }

  /** Notifies the holder now, if that has not happened yet. */
  deliver(): void {
    const notify = this.#pending;
    this.#pending = undefined;
    notify?.();
  }
}

/** The cause of a loss if the end of the lease would no longer delete the key. */
export const detached = (): Error => new Error('another program has put its key without its lease');
