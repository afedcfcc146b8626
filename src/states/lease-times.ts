/**
 * Reads how long the leases of entries last.
 *
 * One lease serves all entries of a process, so each lease is asked for once. etcd has no request for several leases. Some leases cannot
 * be read: the role may lack permission for a key of the lease, or the lease has just ended. Their time is null.
 */
import { mapAtMost } from '../concurrency.ts';
import type { Context } from '../context.ts';
import { EtcdAuthError, EtcdRefusedError, LeaseNotFoundError } from '../errors.ts';
import { withJson } from '../json.ts';
import type { Contender } from './state.ts';

/** Requests under way at once. */
const maxUnderWay = 16;

/** Returns the contenders with the time that their leases last. */
export type AddLeaseTimes = (contenders: readonly Contender[]) => readonly Contender[];

/** Reads the leases of these contenders. */
export async function readLeaseTimes({ store }: Pick<Context, 'store'>, contenders: readonly Contender[]): Promise<AddLeaseTimes> {
  const leaseIds = [...new Set(contenders.map(({ leaseId }) => leaseId))].filter((leaseId) => leaseId !== '0');
  const read = async (leaseId: string) => [leaseId, await readLeaseTime(store, leaseId)] as const;
  const times = new Map(store.leaseRemainingMs === undefined ? [] : await mapAtMost(maxUnderWay, leaseIds, read));
  return (all) => all.map((one) => withJson({ ...one, leaseRemainingMs: times.get(one.leaseId) ?? null }));
}

async function readLeaseTime(store: Context['store'], leaseId: string): Promise<number | null> {
  try {
    return (await store.leaseRemainingMs?.(leaseId)) ?? null;
  } catch (error) {
    if (error instanceof EtcdAuthError || error instanceof EtcdRefusedError || error instanceof LeaseNotFoundError) return null;
    throw error;
  }
}
