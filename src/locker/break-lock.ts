/**
 * Removes the holders of a name: what `breakLock()` does for an operator.
 *
 * Each holder goes in one transaction that compares its create revision, so no later holder is ever removed. The same transaction puts
 * the gate of the holder's session. The session watches its gate, audits its keys, and reports the loss at once. A holder of another
 * program has no gate, and neither has one whose session is over.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, msUntil, waitAtMost } from '../clock.ts';
import { mapAtMost } from '../concurrency.ts';
import type { Context } from '../context.ts';
import { EtcdAuthError, EtcdRefusedError, EtcdUnavailableError, OutcomeUnknownError } from '../errors.ts';
import { gateKey, isExact, leaseHexOf } from '../keys.ts';
import { type Contender, inspectName } from '../states/state.ts';
import type { Transaction } from '../store/store.ts';

/** Requests under way at once. */
const maxUnderWay = 16;

/**
 * Removes the holders of `name`, or those of them with this token. Returns the removed ones.
 *
 * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`; some holders may be removed
 */
export async function breakLock(context: Context, name: string, fencingToken?: bigint): Promise<Contender[]> {
  const { holders } = await inspectName(context, name);
  const chosen = holders.filter((holder) => fencingToken === undefined || holder.fencingToken === fencingToken);
  const isRemoved = await mapAtMost(maxUnderWay, chosen, (holder) => remove(context, holder));
  return chosen.filter((_, index) => isRemoved[index]);
}

/** Removes one holder. Returns false if it was gone before. */
async function remove(context: Context, holder: Contender): Promise<boolean> {
  const { clock, logger, prefix, requestTimeoutMs, store } = context;
  if (!isExact(holder.key)) {
    logger.warn(`etcd-locker: cannot delete ${holder.key}: the key is not UTF-8; delete it with etcdctl`);
    return false;
  }
  const until = addMs(clock.now(), requestTimeoutMs);
  let gate = holder.foreign ? undefined : gateKey(prefix, String(BigInt(`0x${leaseHexOf(holder.key)}`)));
  let isResponseLost = false;
  for (let failures = 0; ;) {
    const timeoutMs = Math.max(1, msUntil(until, clock.now()));
    try {
      const { succeeded, ranges } = await store.commit(buildRemoval(holder, gate), { once: true, timeoutMs });
      if (succeeded) return true;
      // After a lost response nobody can tell whether this request removed it or the holder itself. It was asked for, and it is gone.
      if (ranges[0]?.[0]?.createRevision !== holder.fencingToken) return isResponseLost;
      gate = undefined;
    } catch (error) {
      isResponseLost ||= error instanceof OutcomeUnknownError;
      // The role may not put gates, or etcd has no space for a put. The holder notices a plain deletion at its next beat.
      if (gate !== undefined && isRefusal(error)) gate = undefined;
      else if (!(error instanceof OutcomeUnknownError)) throw error;
      else if (msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, error.hosts);
      else await waitAtMost(clock, backoffMs(failures++), new Promise(() => undefined));
    }
  }
}

/** With a gate it is refused if the gate is missing: etcd touches no missing key. It reads the holder then. */
const buildRemoval = ({ key, fencingToken }: Contender, gate: string | undefined): Transaction => ({
  compare: [
    { key, target: 'create', op: '=', revision: fencingToken },
    ...(gate === undefined ? [] : [{ key: gate, target: 'create', op: '>', revision: 0n } as const]),
  ],
  then: [{ delete: { key } }, ...(gate === undefined ? [] : [{ touch: { key: gate } }])],
  otherwise: [{ range: { key } }],
});

/** Whether etcd refused the transaction for what it puts. A lack of space leaves the outcome unknown. */
const isRefusal = (error: unknown): boolean =>
  error instanceof EtcdAuthError ||
  error instanceof EtcdRefusedError ||
  (error instanceof OutcomeUnknownError && error.cause instanceof EtcdRefusedError);
