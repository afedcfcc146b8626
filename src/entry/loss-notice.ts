/** The second phase of a loss: it notifies the holder in a microtask, or earlier if the user reads the handle. */
import type { LossReason } from '../errors.ts';
import { runInMicrotask } from '../microtask.ts';

/** `cause` is why the lock was lost, as far as that is known. */
export type OnLost = (reason: LossReason, cause?: Error) => void;

/** The part of a held lock that its entry uses. */
export interface Holder {
  /** The lock is lost. Called at most once, and never after a release. */
  readonly onEntryLost: OnLost;
  /** Called now and then while the entry is held. */
  onTick(): void;
}

/** Calls `onEntryLost` in a microtask, or when the returned function is called. */
export function scheduleLoss(holder: Holder, reason: LossReason, cause?: Error): () => void {
  let isPending = true;
  const notify = (): void => {
    if (!isPending) return;
    isPending = false;
    holder.onEntryLost(reason, cause);
  };
  runInMicrotask(notify);
  return notify;
}

/** The cause of a loss if the end of the lease would no longer delete the key. */
export const detached = (): Error => new Error('another program has put its key without its lease');
