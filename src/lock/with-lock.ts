/**
 * Runs the function of `withLock()` while its lock is held, and keeps the process alive meanwhile.
 *
 * A lock that was lost meanwhile always shows: the work may have been done beside that of another holder.
 */
import { type Clock, keepAlive } from '../clock.ts';
import { LockLostError } from '../errors.ts';
import { runWith } from './lock-handle.ts';
import type { Lock } from './lock.ts';

/** @param onReleaseFailure is called if the release fails after `fn` failed */
export async function runWithLock<T>(
  clock: Clock,
  lock: Lock,
  fn: (lock: Lock) => T | Promise<T>,
  onReleaseFailure: (error: unknown) => void,
): Promise<T> {
  let result: T;
  try {
    result = await keepAlive(clock, async () => runWith(lock, fn));
  } catch (error) {
    await lock.release().catch(onReleaseFailure);
    throw toLoss(lock, error) ?? error;
  }
  await lock.release();
  const loss = lossOf(lock);
  if (loss !== undefined) throw loss;
  return result;
}

/** Returns the loss of a lock that was released or lost. Undefined if it was held until its release. */
export function lossOf(lock: Lock): LockLostError | undefined {
  try {
    lock.throwIfLost();
  } catch (error) {
    if (error instanceof LockLostError) return error;
  }
  return undefined;
}

/**
 * Returns the loss that made `fn` fail with `error`. Undefined if `fn` failed for a reason of its own.
 *
 * Most APIs of Node reject with an AbortError whose `cause` is the reason of the signal. `fetch` rejects with the reason itself.
 */
function toLoss(lock: Lock, error: unknown): LockLostError | undefined {
  const loss = lossOf(lock);
  if (loss === undefined || error === loss) return loss;
  const isAbort = error instanceof Error && error.name === 'AbortError' && error.cause === loss;
  return isAbort ? new LockLostError(loss.lockName, loss.fencingToken, loss.reason, { cause: error }) : undefined;
}
