/** The outcomes of `tryLock` and `tryLockAll` that are no errors, and the limits of a transaction. */
import { EtcdRefusedError, LockTimeoutError } from '../errors.ts';

/** etcd takes 128 operations in one transaction, unless `--max-txn-ops` says otherwise. */
export const maxNamesAtOnce = 100;

/** Returns a function that rejects with the error, and names the limit of etcd that `count` names exceed. */
export const explainLimit =
  (count: number) =>
  (error: unknown): never => {
    const limit = exceededLimit(error);
    if (limit === undefined) throw error;
    throw new EtcdRefusedError(`${String(count)} names at once are more than its ${limit} allows; lockAll() takes any number`, {
      cause: error,
    });
  };

/** Returns the flag of etcd whose limit a transaction exceeded. */
function exceededLimit(error: unknown): string | undefined {
  if (!(error instanceof EtcdRefusedError)) return undefined;
  if (error.message.includes('too many operations')) return '--max-txn-ops';
  return /request is too large|larger than max/.test(error.message) ? '--max-request-bytes' : undefined;
}

export async function nullOnTimeout<T>(locking: Promise<T>, signal: AbortSignal | undefined): Promise<T | null> {
  try {
    return await locking;
  } catch (error) {
    // The signal may abort with the timeout of another call.
    if (error instanceof LockTimeoutError && error !== signal?.reason) return null;
    throw error;
  }
}
