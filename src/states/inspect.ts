/** The state of one name as `inspect()` reports it: with the times of the leases, and with the callers that only this process knows. */
import type { Context } from '../context.ts';
import { withJson } from '../json.ts';
import { readLeaseTimes } from './lease-times.ts';
import { inspectName, type LockDetails } from './state.ts';

/**
 * @param localWaiters returns the callers of this process that wait for the name, with the key of the entry if there is one
 * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
 */
export async function inspect(
  context: Context,
  name: string,
  localWaiters: () => Iterable<{ readonly key: string | undefined }>,
): Promise<LockDetails> {
  const state = await inspectName(context, name);
  // At once: a caller may get an entry while the leases are read. A caller may not know yet that its entry holds.
  const keys = new Set([...state.holders, ...state.waiters].map(({ key }) => key));
  const localWaiting = [...localWaiters()].filter(({ key }) => key === undefined || !keys.has(key)).length;
  const addLeaseTimes = await readLeaseTimes(context, [...state.holders, ...state.waiters]);
  return withJson({ ...state, holders: addLeaseTimes(state.holders), waiters: addLeaseTimes(state.waiters), localWaiting });
}
