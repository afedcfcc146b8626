/** Acquires several names in one transaction, and says which limit of etcd refused it. */
import { EtcdRefusedError } from '../errors.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { type MultiLock, MultiLockHandle } from '../lock/multi-lock.ts';

/** etcd takes 128 operations in one transaction, unless `--max-txn-ops` says otherwise. */
export const maxNamesAtOnce = 100;

export async function tryLockAllAtOnce(count: number, tryLock: () => Promise<readonly LockHandle[] | null>): Promise<MultiLock | null> {
  const locks = await tryLock().catch((error: unknown) => {
    const limit = exceededLimit(error);
    if (limit === undefined) throw error;
    throw new EtcdRefusedError(`${String(count)} names at once are more than its ${limit} allows; lockAll() takes any number`, {
      cause: error,
    });
  });
  return locks === null ? null : new MultiLockHandle(locks);
}

/** Returns the flag of etcd whose limit a transaction exceeded. */
function exceededLimit(error: unknown): string | undefined {
  if (!(error instanceof EtcdRefusedError)) return undefined;
  if (error.message.includes('too many operations')) return '--max-txn-ops';
  return /request is too large|larger than max/.test(error.message) ? '--max-request-bytes' : undefined;
}
