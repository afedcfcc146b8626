/** Checks the error or result of a call. Each function returns what is wrong with it, or undefined. */
import {
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  LockerClosedError,
  LockLostError,
  LockReleasedError,
  LockTimeoutError,
} from '../../src/errors.ts';
import type { LockState } from '../../src/states/state.ts';
import { type Call, type HeldLock, isPartOfMultiCall } from './calls.ts';
import type { LockerProcess } from './locker-process.ts';
import { keepMsOf } from './kept-entries.ts';
import { isMoved } from './minimum-holds.ts';
import { AbortReason } from './signals.ts';
import type { World } from './world.ts';

/** The time by which a result may exceed its limit: a network delay and the drift of a clock. */
const graceMs = 50;
/** The time in which a call reads the value of the holder for its error. */
const holderReadMs = 100;
/** The time of the round trips to a lease, its gate and an entry, without a fault. */
const fewRoundTripsMs = 60;

/** A call may share a response that was made so long before it: the response was slow, or the machine was frozen. */
const underWayMs = 20_000;

export function callProblem(world: World, call: Call, error: unknown): string | undefined {
  const { process, options, kind } = call;
  const { requestTimeoutMs } = world.scenario;
  const { machine } = process;
  const waitedMs = machine.now().monotonicMs - call.startedMonotonicMs;
  const awakeMs = machine.awakeMs - call.startedAwakeMs;
  if (error instanceof AbortReason)
    return call.signal?.signal.reason === error ? undefined : 'it rejected as aborted, but its signal did not abort';
  if (error instanceof LockerClosedError) return process.isOpen ? 'it rejected as closed, but its locker is open' : undefined;
  if (error instanceof LockTimeoutError) {
    const { timeoutMs } = options;
    if (kind === 'tryLock' || kind === 'tryLockAll' || timeoutMs === undefined) return 'it timed out, but has no time limit';
    if (waitedMs < timeoutMs - 1) return `it timed out after ${waitedMs.toFixed(1)} ms`;
    // lockAll with no time left still tries each name, one after the other.
    const triesMs = isPartOfMultiCall(call) ? 9 * requestTimeoutMs : timeoutMs === 0 ? 3 * requestTimeoutMs : 0;
    const mostMs = (timeoutMs + triesMs) * 1.03 + holderReadMs + graceMs;
    if (awakeMs > mostMs) return `it timed out only after ${awakeMs.toFixed(1)} ms`;
    return world.judge.wasFree(call) ? 'it timed out as busy, but nobody else wanted the name' : undefined;
  }
  if (error instanceof EtcdUnavailableError) {
    const { timeoutMs = kind === 'tryLock' ? 0 : Infinity } = options;
    const isOver = waitedMs >= timeoutMs - 1;
    if (call.usesLocalQueue && !isOver && world.judge.wasEnqueued(call))
      return 'it rejected as unavailable, but its entry was in the queue';
    const limitMs = timeoutMs === 0 ? requestTimeoutMs : Math.min(timeoutMs, requestTimeoutMs);
    // A call with so little time cannot get two responses: a lease, and an entry.
    if (isOver && timeoutMs > 0 && timeoutMs < fewRoundTripsMs) return undefined;
    // A call that waits may count from the last response, but never beyond its own time.
    const mostMs = timeoutMs === 0 ? requestTimeoutMs : timeoutMs;
    if (!isPartOfMultiCall(call) && awakeMs > mostMs * 1.03 + graceMs)
      return `it rejected as unavailable only after ${awakeMs.toFixed(1)} ms`;
    return unavailableProblem(world, process, waitedMs, call.clockJumps, call.startedMs, limitMs);
  }
  if (isExplained(world, process, error, call.startedMs)) {
    const isEnqueued = error instanceof EtcdRefusedError && call.usesLocalQueue && world.judge.wasEnqueued(call);
    return isEnqueued ? 'it rejected as refused, but its entry was in the queue' : undefined;
  }
  if (error instanceof LockLostError && isPartOfMultiCall(call)) return lossProblem(world, call, error);
  return `it rejected with ${String(error)}`;
}

/** Whether etcd refused a request of the process for lack of space or for a wrong password since `sinceMs`, or a little before. */
export function isExplained({ faultSchedule }: World, { machine }: LockerProcess, error: unknown, sinceMs: number): boolean {
  if (error instanceof EtcdAuthError) return faultSchedule.hadWrongPasswordSince(machine, sinceMs - underWayMs);
  return error instanceof EtcdRefusedError && faultSchedule.wasFullSince(sinceMs - underWayMs);
}

/** lockAll lost one of its locks while it waited for the next. */
function lossProblem(
  { record, settledMs, isBlurred }: World,
  { process, startedMs, slots }: Call,
  error: LockLostError,
): string | undefined {
  const { reason, lockName, fencingToken } = error;
  if (reason === 'max-hold') return 'it was lost by maxHoldMs, which had not begun';
  if (reason === 'closed') return process.isOpen ? 'it was lost as closed, but its locker is open' : undefined;
  if (startedMs >= settledMs) return `it lost ${lockName} without a fault: ${reason}`;
  // Other locks of this process may have the same token, unless the kind is exclusive.
  const isThere = slots === 1 && record.entries(lockName).some(({ createRevision }) => createRevision === fencingToken);
  // A restore uses revisions again, and brings back entries whose end the process has seen.
  return reason === 'deleted' && isThere && !isBlurred ? `it lost ${lockName} as deleted, but its entry exists` : undefined;
}

function unavailableProblem(
  { scenario, settledMs }: World,
  { machine }: LockerProcess,
  waitedMs: number,
  leaps: number,
  startedMs: number,
  limitMs = scenario.requestTimeoutMs,
) {
  if (startedMs >= settledMs) return 'it rejected as unavailable without a fault';
  // A clock that jumped forward ends every wait early.
  if (machine.clockJumps === leaps && waitedMs < limitMs * 0.9) return `it gave up after ${waitedMs.toFixed(1)} ms`;
  return undefined;
}

export function valueProblem(world: World, held: HeldLock, error: unknown, startedMonotonicMs: number): string | undefined {
  if (error instanceof LockLostError) return held.loss === undefined ? 'it rejected as lost, but the lock is held' : undefined;
  if (error instanceof LockReleasedError) return held.isReleased ? undefined : 'it rejected as released, but the lock is not released';
  if (isExplained(world, held.call.process, error, held.acquiredMs)) return undefined;
  if (!(error instanceof EtcdUnavailableError)) return `it rejected with ${String(error)}`;
  const { process } = held.call;
  const waitedMs = process.machine.now().monotonicMs - startedMonotonicMs;
  return unavailableProblem(world, process, waitedMs, held.call.clockJumps, held.acquiredMs);
}

/** A release resolves only if the entry is deleted or the lease is over, also when the locker is closed meanwhile. */
export function releaseProblem({ record }: World, { call, key, token, lock, deadlineMs, loss }: HeldLock): string | undefined {
  const { machine } = call.process;
  const entry = record.find(call.name, key, token);
  if (loss !== undefined || entry === undefined) return undefined;
  if ((call.options.minHoldMs ?? 0) > 0 && isMoved(entry)) return undefined;
  // The release resolves at once, and the entry may stay.
  if (keepMsOf(call) > 0) return undefined;
  // The lease lasts beyond the deadline by the margin of its session, which is at least 500 ms.
  const isOver = machine.now().monotonicMs >= deadlineMs + 499 || machine.clockJumps !== call.clockJumps;
  return isOver || record.isGateDeleted(lock.leaseId) ? undefined : 'its release resolved, but its entry exists';
}

export function watchProblem(world: World, process: LockerProcess, error: unknown, last: LockState | undefined): string | undefined {
  if (error instanceof LockerClosedError && !process.isOpen) return undefined;
  if (isExplained(world, process, error, world.scheduler.nowMs)) return undefined;
  return last === undefined ? `it failed with ${String(error)}` : 'it failed after its first state';
}
