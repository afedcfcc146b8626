/** `etcd-locker NAME -- COMMAND`: waits for the lock, runs the command under it, and stops it when the lock is lost. */
import { createLocker, type Lock, type Locker } from 'etcd-locker';
import type { RunCommand } from './arguments.ts';
import { Child } from './child.ts';
import { printError, type Ending, endingOf, exitStatus } from './failures.ts';
import { onUncaughtError } from './uncaught-errors.ts';
import { Interruption, type SignalInbox } from './signals.ts';

/** @throws {LockerError} the lock could not be asked for or was not to be had in time */
export async function run(command: RunCommand, env: NodeJS.ProcessEnv): Promise<Ending> {
  const locker = createLocker(command.locker);
  const interruption = new Interruption();
  try {
    const lock = await acquire(locker, command, interruption.signal);
    if (interruption.ending !== undefined) return interruption.ending;
    if (lock === null) {
      printError(`lock ${JSON.stringify(command.name)} is taken`);
      return { status: exitStatus.tempFail };
    }
    return await runUnder(lock, command, interruption.inbox, env);
  } catch (error) {
    if (interruption.ending !== undefined) return interruption.ending;
    throw error;
  } finally {
    // From now on a signal ends us without ado: there is nothing left to pass it on to.
    interruption.inbox.close();
    await locker.close();
  }
}

const acquire = (locker: Locker, { name, lock, tries }: RunCommand, signal: AbortSignal): Promise<Lock | null> =>
  (tries ? locker.tryLock : locker.lock)(name, { ...lock, signal });

async function runUnder(lock: Lock, { file, args, graceMs }: RunCommand, inbox: SignalInbox, env: NodeJS.ProcessEnv): Promise<Ending> {
  lock.throwIfLost();
  const child = new Child(file, args, {
    ...env,
    ETCD_LOCKER_NAME: lock.name,
    ETCD_LOCKER_KEY: lock.key,
    ETCD_LOCKER_TOKEN: String(lock.fencingToken),
  });
  inbox.deliverTo((signal) => {
    child.pass(signal);
  });
  let stopped: Promise<void> | undefined;
  const unwatch = onLoss(lock, (reason) => {
    stopped ??= child.stop(graceMs); // before the telling: a terminal that is held up by ^S takes its time
    printError(`${reason.message}; stopping the command`);
  });
  let mistake: Ending | undefined;
  const unhandle = onUncaughtError((error) => {
    stopped ??= child.stop(graceMs);
    mistake ??= endingOf(error);
  });
  const ending = await child.ended;
  // It may be lost without anybody having been told so far, as after this machine was asleep.
  const isLost = !lock.held;
  unwatch();
  await stopped;
  unhandle();
  if (mistake !== undefined) return mistake;
  if (!isLost) return ending;
  // Whatever the command itself says of it: another may have held the lock while it was at work.
  printError(`the command ${wordsFor(ending)} after the lock was lost`);
  return { status: exitStatus.tempFail };
}

/** Calls `callback` once, when the lock's deadline passes and not at the library's next look at it. The answer ends the watching. */
export function onLoss(lock: Lock, callback: (reason: Error) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    clearTimeout(timer);
    callback(lock.signal.reason as Error);
  };
  // Starting the command takes time, and a machine may sleep meanwhile: a signal that has aborted tells nobody any more.
  if (lock.signal.aborted) onAbort();
  else lock.signal.addEventListener('abort', onAbort, { once: true });
  // Reading `held` past the deadline is what makes the signal abort.
  const look = (): void => {
    if (lock.held) timer = setTimeout(look, Math.max(1, lock.remainingMs));
  };
  look();
  return () => {
    lock.signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  };
}

const wordsFor = (ending: Ending): string =>
  'signal' in ending ? `was ended by ${ending.signal}` : `ended with status ${String(ending.status)}`;
