/** Decides which callers of a name reject after a step of one of them has failed. */
import type { Instant } from '../clock.ts';
import { EntryGoneError } from '../entry/value-writer.ts';
import { isFinal, OutcomeUnknownError, TtlTooShortError } from '../errors.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { quote } from '../text.ts';
import type { Caller } from './caller.ts';
import type { Outage } from './outage.ts';

/** The part of a local queue that a failed step concerns. */
interface FailedQueue {
  readonly name: string;
  readonly outage: Outage;
  /** In the order in which they joined. */
  waiters(): Iterable<{ readonly caller: Caller<LockHandle> }>;
  timeLeftMs(caller: Caller<LockHandle>): number;
  rejectAll(reason: unknown): void;
}

/** Takes in that a step for `failed`, which began at `startedAt`, has failed. */
export function rejectAfterFailure(
  context: LockerContext,
  queue: FailedQueue,
  failed: Caller<LockHandle>,
  error: unknown,
  startedAt: Instant,
): void {
  queue.outage.onFailure(error, startedAt);
  const isSettledNext = error instanceof OutcomeUnknownError && queue.timeLeftMs(failed) > 1;
  if (error instanceof EntryGoneError || isSettledNext) return;
  // Only callers with the same TTL are concerned, and each of them meets the same error.
  if (error instanceof TtlTooShortError) failed.reject(error);
  // No retry can help, and the other callers have the same credentials and the same cluster.
  else if (isFinal(error)) queue.rejectAll(error);
  else if (failed.wasEnqueued) context.outageLog.warn(`still waiting for lock ${quote(queue.name)}: ${String(error)}`);
  else if (queue.outage.isOn) rejectOverdue(context, queue, failed);
  else failed.reject(error);
}

/** Rejects a caller whose step failed in an outage, and all others whose time is up. */
function rejectOverdue({ outageLog }: LockerContext, queue: FailedQueue, failed: Caller<LockHandle>): void {
  const error = queue.outage.toError();
  outageLog.warn(`cannot ask for lock ${quote(queue.name)}: ${String(error)}`);
  failed.reject(error);
  const overdue: Caller<LockHandle>[] = [];
  for (const { caller } of queue.waiters()) {
    if (queue.timeLeftMs(caller) <= 1) overdue.push(caller);
    else if (!caller.wasEnqueued) break;
  }
  for (const caller of overdue) caller.reject(queue.outage.toError());
}
