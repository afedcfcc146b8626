/** Publishes the calls that ask for locks on the channels `tracing:etcd-locker:acquire:*`. */
import type { Clock } from '../clock.ts';
import { isLockerError } from '../errors.ts';
import { modeOf } from '../kind.ts';
import type { Lock } from '../lock/lock.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import { traceAcquire } from '../telemetry/channels.ts';
import type { AcquireOperation, AcquireResult, LockMessage } from '../telemetry/messages.ts';

interface TracedCall {
  readonly clock: Clock;
  readonly operation: AcquireOperation;
  readonly names: string | readonly string[];
  readonly options: Pick<ResolvedLockOptions, 'slots' | 'timeoutMs' | 'signal'>;
}

/** Makes the call, and publishes its start and its end. The caller checks first whether somebody listens. */
export function traced<T extends Lock | { readonly locks: readonly Lock[] } | null>(
  { clock, operation, names, options }: TracedCall,
  call: () => Promise<T>,
): Promise<T> {
  const { slots, timeoutMs, signal } = options;
  const startedMs = clock.now().monotonicMs;
  return traceAcquire<T>(
    { operation, names: typeof names === 'string' ? [names] : names, mode: modeOf(slots), slots, timeoutMs },
    call,
    (outcome) => {
      const waitMs = clock.now().monotonicMs - startedMs;
      if ('error' in outcome) return { result: resultOf(outcome.error, signal), waitMs };
      if (outcome.value === null) return { result: 'busy', waitMs };
      const acquired: Lock | { readonly locks: readonly Lock[] } = outcome.value;
      const locks: readonly Lock[] = 'locks' in acquired ? acquired.locks : [acquired];
      return { result: 'acquired', waitMs, locks: locks.map(toMessage) };
    },
  );
}

const toMessage = ({ name, mode, slots, key, fencingToken, leaseId }: Lock): LockMessage => ({
  name,
  mode,
  slots,
  key,
  fencingToken,
  leaseId,
});

function resultOf(error: unknown, signal: AbortSignal | undefined): AcquireResult {
  // First of all: the signal of another lock aborts with an error of this package.
  if (signal?.aborted === true && error === signal.reason) return 'aborted';
  if (isLockerError(error)) {
    if (error.code === 'LOCK_TIMEOUT') return 'timeout';
    return error.code === 'LOCKER_CLOSED' ? 'closed' : 'failed';
  }
  return signal?.aborted === true ? 'aborted' : 'failed';
}
