/**
 * Several names one after another, in the order of their keys: whoever holds one waits only for later ones, so no two wait for each other.
 */
import { onAbort } from '../abort.ts';
import { queuePath } from '../keys.ts';
import type { LocalQueues } from '../queue/local-queues.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { type MultiLock, MultiLockHandle, releaseAll } from '../lock/multi-lock.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';

/**
 * @throws {LockLostError} one was lost while it waited for the rest
 * @throws {LockTimeoutError} the time for all of them is up
 */
export async function lockAll(
  shared: LockerContext,
  lines: LocalQueues,
  names: readonly string[],
  asked: ResolvedLockOptions,
): Promise<MultiLock> {
  const { clock, sessions, logger } = shared;
  const { timeoutMs, maxHoldMs, lease } = asked;
  // By the monotonic clock alone, as the timer of one name goes: a wall clock that is set forward takes nobody's time.
  const untilMs = timeoutMs === undefined ? undefined : clock.now().monotonicMs + timeoutMs;
  const held = new Map<string, LockHandle>();
  const waiting = new AbortController();
  const { signal } = asked;
  const abort = (): void => {
    waiting.abort(signal?.reason);
  };
  const stopListening = signal === undefined ? undefined : onAbort(signal, abort);
  try {
    for (const name of [...names].sort(byKey)) {
      waiting.signal.throwIfAborted();
      const left = untilMs === undefined ? undefined : Math.max(0, untilMs - clock.now().monotonicMs);
      // The time to hold begins when all are held.
      const lock = await lines.lock(name, { ...asked, signal: waiting.signal, timeoutMs: left, maxHoldMs: undefined }, timeoutMs);
      held.set(name, lock);
      lock.onLost((error) => {
        waiting.abort(error);
      });
    }
    for (const lock of held.values()) lock.throwIfLost();
  } catch (error) {
    // Not awaited: in an outage the caller would hear of it only when the leases are over.
    releaseAll([...held.values()]).catch((cause: unknown) => {
      logger.warn(`etcd-locker: ${String(cause)}`);
    });
    throw error;
  } finally {
    stopListening?.();
  }
  if (lease !== undefined) sessions.endRenewal(lease);
  const inOrder = names.map((name) => held.get(name)).filter((lock) => lock !== undefined);
  if (maxHoldMs !== undefined) for (const lock of inOrder) lock.limitHold(maxHoldMs);
  return new MultiLockHandle(inOrder);
}

const byKey = (a: string, b: string): number => (queuePath(a) < queuePath(b) ? -1 : 1);
