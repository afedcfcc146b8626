/** Implements `etcd-locker NAME -- COMMAND`: waits for the lock, runs the command, and stops it when the lock is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, isLockerError, type Lock, type Locker } from 'etcd-locker';
import { quote } from '../text.ts';
import type { RunCommand } from './arguments.ts';
import { Child, type Inheritance } from './child.ts';
import { printError, type Ending, exitStatus, reportError } from './failures.ts';
import { onUncaughtError } from './uncaught-errors.ts';
import { Interruption, type SignalInbox } from './signals.ts';
import { describeHolders, reportWaiting } from './waiting.ts';

/** How long an etcd that has not responded has for the end of the lease. */
const closeMs = 300;

/** @throws {LockerError} the lock could not be acquired */
export async function run(command: RunCommand, inheritance: Inheritance): Promise<Ending> {
  const locker = createLocker(command.locker);
  const interruption = new Interruption();
  let isEtcdSilent = false;
  try {
    const lock = await acquire(locker, command, interruption.signal);
    if (interruption.ending !== undefined) return interruption.ending;
    if (lock === null) {
      printError(`Cannot acquire lock ${quote(command.name)} now: ${await describeHolders(locker, command.name)}`);
      return { status: exitStatus.tempFail };
    }
    return await runCommand(lock, command, interruption.inbox, inheritance);
  } catch (error) {
    isEtcdSilent = isLockerError(error) && error.code === 'ETCD_UNAVAILABLE';
    if (interruption.ending !== undefined) return interruption.ending;
    throw error;
  } finally {
    // The command has ended, so the next signal ends this process at once.
    interruption.inbox.close();
    const closed = locker.close();
    // Nothing is held then, and close() would wait for etcd longer than --timeout.
    await (isEtcdSilent ? Promise.race([closed, sleep(closeMs)]) : closed);
  }
}

async function acquire(locker: Locker, { name, lock, isTry, isVerbose }: RunCommand, signal: AbortSignal): Promise<Lock | null> {
  if (isTry) return locker.tryLock(name, { ...lock, signal });
  const waiting = new AbortController();
  if (isVerbose) void reportWaiting(locker, name, lock.value, waiting.signal);
  try {
    return await locker.lock(name, { ...lock, signal });
  } finally {
    waiting.abort();
  }
}

async function runCommand(lock: Lock, command: RunCommand, inbox: SignalInbox, { env, descriptors }: Inheritance): Promise<Ending> {
  lock.throwIfLost();
  const { file, args, graceMs, maxHoldMs } = command;
  const variables = { ETCD_LOCKER_NAME: lock.name, ETCD_LOCKER_KEY: lock.key, ETCD_LOCKER_TOKEN: String(lock.fencingToken) };
  const child = new Child(file, args, { env: { ...env, ...variables }, descriptors });
  inbox.deliverTo((signal) => {
    child.forward(signal);
  });
  let stopped: Promise<void> | undefined;
  const stopWatching = onLoss(lock, (reason) => {
    stopped ??= child.stop(graceMs); // first, because a terminal paused by ^S delays the message
    printError(`${reason.message}; stopping the command`);
  });
  const limit = new HoldLimit(maxHoldMs, () => {
    stopped ??= child.stop(graceMs);
    printError('The command has run for longer than --max-hold; stopping it');
  });
  let internalError: Ending | undefined;
  const removeHandler = onUncaughtError((error) => {
    stopped ??= child.stop(graceMs);
    internalError ??= reportError(error);
  });
  const ending = await child.ended;
  // The lock may be lost before the callback runs, for example after the machine slept.
  const isLost = !lock.held;
  limit.cancel();
  stopWatching();
  await stopped;
  removeHandler();
  if (internalError !== undefined) return internalError;
  if (!isLost && !limit.isOver) return ending;
  // The status of the command does not count: another process may have held the lock while the command ran.
  printError(`The command ${describeEnding(ending)} after ${isLost ? 'the lock was lost' : 'it was stopped'}`);
  return { status: exitStatus.tempFail };
}

/**
 * The time of --max-hold. The lock is held until the command has ended, so the next holder does not meet it. The option of the library
 * would release the lock first.
 */
class HoldLimit {
  isOver = false;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(maxHoldMs: number | undefined, stop: () => void) {
    if (maxHoldMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.isOver = true;
      stop();
    }, maxHoldMs);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Calls `callback` once when the lock is lost, and at the latest when its deadline passes. Returns a function that stops watching.
 */
export function onLoss(lock: Lock, callback: (reason: Error) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    clearTimeout(timer);
    callback(lock.signal.reason as Error);
  };
  // The lock may be lost while the command starts. A signal that has already aborted emits no event.
  if (lock.signal.aborted) onAbort();
  else lock.signal.addEventListener('abort', onAbort, { once: true });
  // Reading `held` after the deadline makes the signal abort.
  const check = (): void => {
    if (lock.held) timer = setTimeout(check, Math.max(1, lock.remainingMs));
  };
  check();
  return () => {
    lock.signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  };
}

const describeEnding = (ending: Ending): string =>
  'signal' in ending ? `was ended by ${ending.signal}` : `ended with status ${String(ending.status)}`;
