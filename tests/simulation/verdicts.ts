/** What a call may fail with, and when: the answer is what is wrong with it, if anything is. */
import { EtcdUnavailableError, LockerClosedError, LockLostError, LockReleasedError, LockTimeoutError } from '../../src/errors.ts';
import type { LockState } from '../../src/states/state.ts';
import { type Call, type Held, isOneOfSeveral } from './calls.ts';
import type { LockerProcess } from './locker-process.ts';
import { AbortReason } from './signals.ts';
import type { World } from './world.ts';

/** What answers may take beyond their limit: a step of the network, and a clock that is a little off. */
const graceMs = 50;

export function callProblem(world: World, call: Call, error: unknown): string | undefined {
  const { process, options, kind } = call;
  const { requestTimeoutMs } = world.scenario;
  const { machine } = process;
  const waitedMs = machine.now().monotonicMs - call.startedMonotonicMs;
  const awakeMs = machine.awakeMs - call.startedAwakeMs;
  if (error instanceof AbortReason) return call.signal?.signal.reason === error ? undefined : 'it is aborted, but nobody did it';
  if (error instanceof LockerClosedError) return process.isOpen ? 'its locker is not closed' : undefined;
  if (error instanceof LockTimeoutError) {
    const { timeoutMs } = options;
    if (kind === 'tryLock' || kind === 'tryLockAll' || timeoutMs === undefined) return 'it has no limit of time';
    if (waitedMs < timeoutMs - 1) return `it timed out after ${waitedMs.toFixed(1)} ms`;
    // With no time left each of several names is tried, one after the other.
    const triesMs = isOneOfSeveral(call) ? 9 * requestTimeoutMs : timeoutMs === 0 ? 3 * requestTimeoutMs : 0;
    const mostMs = (timeoutMs + triesMs) * 1.03 + 500 + graceMs;
    return awakeMs > mostMs ? `its time out came after ${awakeMs.toFixed(1)} ms` : undefined;
  }
  if (error instanceof EtcdUnavailableError) {
    if (call.isInLine && world.judge.wasEnqueued(call)) return 'it was enqueued, and yet rejects for want of an answer';
    return unavailableProblem(world, process, waitedMs, call.leaps, call.startedMs);
  }
  if (error instanceof LockLostError && isOneOfSeveral(call)) return lossProblem(world, call, error);
  return `it rejects with ${String(error)}`;
}

/** One of several was lost while it waited for the rest. */
function lossProblem({ record, settledMs }: World, { process, startedMs }: Call, error: LockLostError): string | undefined {
  const { reason, lockName, fencingToken } = error;
  if (reason === 'max-hold') return 'its time to hold had not begun';
  if (reason === 'closed') return process.isOpen ? 'its locker is not closed' : undefined;
  if (startedMs >= settledMs) return `it lost ${lockName} while nothing goes wrong: ${reason}`;
  const isThere = record.find(lockName, fencingToken) !== undefined;
  return reason === 'deleted' && isThere ? `it lost ${lockName} as deleted, and is there` : undefined;
}

function unavailableProblem(
  { scenario, settledMs }: World,
  { machine }: LockerProcess,
  waitedMs: number,
  leaps: number,
  startedMs: number,
) {
  if (startedMs >= settledMs) return 'etcd is not available, though nothing goes wrong';
  // A clock that leapt forward ends every wait before its time.
  if (machine.leaps === leaps && waitedMs < scenario.requestTimeoutMs * 0.9) return `it gave up after ${waitedMs.toFixed(1)} ms`;
  return undefined;
}

export function valueProblem(world: World, held: Held, error: unknown, startedMonotonicMs: number): string | undefined {
  if (error instanceof LockLostError) return held.loss === undefined ? 'it is not lost' : undefined;
  if (error instanceof LockReleasedError) return held.isReleased ? undefined : 'it was not released';
  if (!(error instanceof EtcdUnavailableError)) return `it rejects with ${String(error)}`;
  const { process } = held.call;
  const waitedMs = process.machine.now().monotonicMs - startedMonotonicMs;
  return unavailableProblem(world, process, waitedMs, held.call.leaps, held.acquiredMs);
}

/** A release that resolves means that the entry is gone, or that the session is over. */
export function releaseProblem({ record }: World, { call, token, lock, deadlineMs, loss }: Held): string | undefined {
  const { machine, isOpen } = call.process;
  if (loss !== undefined || !isOpen || record.find(call.name, token) === undefined) return undefined;
  const isOver = machine.now().monotonicMs >= deadlineMs - 1 || machine.leaps !== call.leaps;
  return isOver || record.isGateGone(lock.leaseId) ? undefined : 'its release resolved before its entry was deleted';
}

export function watchProblem(
  { settledMs, scheduler }: World,
  process: LockerProcess,
  error: unknown,
  last: LockState | undefined,
): string | undefined {
  if (error instanceof LockerClosedError && !process.isOpen) return undefined;
  if (!(error instanceof EtcdUnavailableError)) return `it fails with ${String(error)}`;
  if (last !== undefined) return 'it fails after its first state';
  return scheduler.nowMs >= settledMs + 3_000 ? 'etcd is not available, though nothing goes wrong' : undefined;
}
