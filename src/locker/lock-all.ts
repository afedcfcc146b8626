/**
 * Takes several names one after another, in the order of their keys. A caller that holds one name waits only for later names, so no two
 * callers wait for each other.
 */
import { onAbort, reasonOf } from '../abort.ts';
import { LockerClosedError } from '../errors.ts';
import { encodeName } from '../keys.ts';
import { LockHandle } from '../lock/lock-handle.ts';
import { type MultiLock, MultiLockHandle, releaseAll } from '../lock/multi-lock.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LocalQueues } from '../queue/local-queues.ts';
import type { LockerContext } from '../session/locker-context.ts';

/**
 * @throws {LockLostError} one lock was lost while it waited for the rest
 * @throws {LockTimeoutError} the time for all of them is up, and one of the names was busy
 * @throws {EtcdUnavailableError} the time is up, and etcd has not said that one of the names is busy
 */
export async function lockAll(
  context: LockerContext,
  queues: LocalQueues,
  names: readonly string[],
  options: ResolvedLockOptions,
  isTry: boolean,
): Promise<MultiLock> {
  const { clock, sessions, logger } = context;
  const { timeoutMs, maxHoldMs, minHoldMs, lease, signal } = options;
  // The monotonic clock alone, like the timer of a single name: a wall clock that is set forward uses up no time.
  const untilMs = timeoutMs === undefined ? undefined : clock.now().monotonicMs + timeoutMs;
  const held = new Map<string, LockHandle>();
  const whole = { timeoutMs, wasBusy: false, isTry };
  const waiting = new AbortController();
  const abort = (): void => {
    waiting.abort(signal === undefined ? undefined : reasonOf(signal));
  };
  const stopListening = signal === undefined ? undefined : onAbort(signal, abort);
  try {
    for (const name of [...names].sort(byKey)) {
      waiting.signal.throwIfAborted();
      // Without any time each name is tried once. With some of it, none is tried beyond its end.
      const leftMs = untilMs === undefined || timeoutMs === 0 ? timeoutMs : Math.max(1, untilMs - clock.now().monotonicMs);
      // Both limits count from the moment when all are held. A call that fails has done no work, so it frees its names at once, and keeps none.
      const one = { ...options, signal: waiting.signal, timeoutMs: leftMs, maxHoldMs: undefined, minHoldMs: undefined };
      const lock = await queues.lock(name, one, whole);
      held.set(name, lock);
      lock.onLost((error) => {
        waiting.abort(error.reason === 'closed' ? new LockerClosedError() : error);
      });
    }
    for (const lock of held.values()) lock.checkHeld();
    waiting.signal.throwIfAborted();
  } catch (error) {
    for (const lock of held.values()) LockHandle.holdOf(lock).keepEntry = undefined;
    // Without await: in an outage the releases take as long as the leases.
    releaseAll([...held.values()]).catch((cause: unknown) => {
      logger.warn(`etcd-locker: ${String(cause)}`);
    });
    throw error;
  } finally {
    stopListening?.();
  }
  if (lease !== undefined) sessions.endRenewal(lease);
  const locks = names.map((name) => held.get(name)).filter((lock) => lock !== undefined);
  for (const lock of locks) {
    if (maxHoldMs !== undefined) lock.limitHold(maxHoldMs);
    if (minHoldMs !== undefined) lock.requireHold(minHoldMs);
  }
  return new MultiLockHandle(locks);
}

const byKey = (a: string, b: string): number => (encodeName(a) < encodeName(b) ? -1 : 1);
