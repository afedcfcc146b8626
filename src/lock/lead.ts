/**
 * Campaigns for a lock and runs a function while it is held, again and again: the leader election of `lead()`.
 *
 * A term ends when the function settles. If the lock was lost before, the next campaign begins, unless the function failed for a reason
 * of its own. Otherwise the lock is released, and the outcome of the function is that of `lead()` (docs/decisions/022).
 */
import { onAbort, throwIfAborted } from '../abort.ts';
import { backoffMs } from '../backoff.ts';
import type { Context } from '../context.ts';
import { EtcdRefusedError, EtcdUnavailableError, LockLostError } from '../errors.ts';
import { Pauses } from '../pauses.ts';
import { quote } from '../text.ts';
import { runWith } from './lock-handle.ts';
import type { Lock } from './lock.ts';
import { lossOf } from './with-lock.ts';

export interface Candidate {
  readonly name: string;
  /** Ends the campaign. It has no effect on a function that runs. */
  readonly signal: AbortSignal | undefined;
  /** Waits for the lock. Rejects if `signal` has aborted or the locker is closed. */
  readonly acquire: () => Promise<Lock>;
  /** The pauses between campaigns. They end when the locker closes. */
  readonly pauses: Pauses;
}

/** A term of at least this length is no reason for a pause before the next campaign. */
const longTermMs = 5_000;

export async function lead<T>(context: Context, candidate: Candidate, fn: (lock: Lock) => T | Promise<T>): Promise<T> {
  const { signal, pauses } = candidate;
  const endPauses = (): void => {
    pauses.end();
  };
  const stopListening = signal === undefined ? undefined : onAbort(signal, endPauses);
  try {
    // The number of campaigns and terms in a row that ended too soon.
    for (let failures = 0; ;) {
      const lock = await campaign(context, candidate);
      if (lock !== undefined) {
        const startedMs = context.clock.now().monotonicMs;
        const term = await runTerm(context, lock, fn);
        if ('result' in term) return term.result;
        if (context.clock.now().monotonicMs - startedMs >= longTermMs) failures = 0;
      }
      if (failures > 0 || lock === undefined) await pauses.wait(backoffMs(failures));
      failures += 1;
    }
  } finally {
    stopListening?.();
  }
}

/** Waits for the lock. Returns undefined if that failed, and a retry may help. */
async function campaign({ outageLog }: Context, { name, signal, acquire }: Candidate): Promise<Lock | undefined> {
  try {
    return await acquire();
  } catch (error) {
    // First of all: the signal of another lock aborts with a loss, which looks like one that may pass.
    throwIfAborted(signal);
    if (!mayPass(error)) throw error;
    outageLog.warn(`still campaigning for lock ${quote(name)}: ${String(error)}`);
    return undefined;
  }
}

type Term<T> = { readonly result: T } | { readonly loss: LockLostError };

/** Runs the function, and releases the lock if it is still held then. Returns the loss if the next campaign is to begin. */
async function runTerm<T>({ logger }: Context, lock: Lock, fn: (lock: Lock) => T | Promise<T>): Promise<Term<T>> {
  let result: T;
  try {
    // The process may have been frozen since etcd granted the lock.
    const early = lossOf(lock);
    if (early !== undefined) return { loss: early };
    result = await runWith(lock, fn);
  } catch (error) {
    const loss = lossOf(lock);
    if (loss !== undefined && isConsequence(error)) return { loss };
    await lock.release().catch((cause: unknown) => {
      logger.warn(`etcd-locker: ${String(cause)}`);
    });
    throw error;
  }
  await lock.release();
  const loss = lossOf(lock);
  return loss === undefined ? { result } : { loss };
}

/** Whether a later campaign may succeed. A round trip that is too slow for the TTL may become faster. */
const mayPass = (error: unknown): boolean =>
  error instanceof EtcdUnavailableError || error instanceof LockLostError || (error instanceof EtcdRefusedError && !error.isFinal);

/** The causes of an error are followed so far. A chain may be a circle. */
const maxCauses = 10;

/** Whether the function may have failed because its lock was lost: it was aborted, or an error of a lock or of the outage is a cause. */
function isConsequence(error: unknown): boolean {
  for (let [cause, depth] = [error, 0]; cause instanceof Error && depth < maxCauses; cause = cause.cause, depth += 1) {
    if (cause.name === 'AbortError' || cause instanceof LockLostError || cause instanceof EtcdUnavailableError) return true;
  }
  return false;
}
