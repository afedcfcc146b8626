/** Implements `etcd-locker break`: shows the holders of a lock, asks, and removes them. */
import type { Contender, Locker } from 'etcd-locker';
import { quote } from '../text.ts';
import type { BreakCommand } from './arguments.ts';
import { type Ending, exitStatus, printError } from './failures.ts';
import { write } from './output.ts';
import { formatContenders, toJson } from './states.ts';
import { UsageError } from './usage-error.ts';
import { withLocker } from './with-locker.ts';

/**
 * @throws {UsageError} there is no terminal to ask on, and --yes is not given
 * @throws {LockerError} etcd could not be read, or a holder could not be removed
 * @throws {OutputError} stdout could not be written to
 */
export async function breakHolders(command: BreakCommand): Promise<Ending> {
  if (!command.isSure && !(process.stdin.isTTY && process.stderr.isTTY)) {
    throw new UsageError('break: expected --yes, because there is no terminal to ask on');
  }
  return withLocker(command.locker, (locker, signal) => perform(locker, command, signal));
}

/** Resolves with the exit status. */
async function perform(locker: Locker, { name, token, isSure, json }: BreakCommand, signal: AbortSignal): Promise<number> {
  const { holders } = await locker.inspect(name);
  const chosen = holders.filter(({ fencingToken }) => token === undefined || fencingToken === token);
  if (chosen.length > 0 && !isSure && !(await confirm(chosen, signal))) {
    printError(`Lock ${quote(name)} is still held: nothing was removed`);
    return exitStatus.tempFail;
  }
  const removed = await remove(locker, name, chosen);
  if (json) await write(toJson({ name, removed }));
  else if (removed.length > 0) await write(`removed:\n${formatContenders(removed)}`);
  if (chosen.length === 0) printError(describeNobody(name, token, holders.length > 0));
  else if (removed.length < chosen.length) printError(`${String(chosen.length - removed.length)} of the holders had left by themselves`);
  return 0;
}

/** Removes the holders that were shown, and no other: a new one may have come while the user read. */
async function remove(locker: Locker, name: string, chosen: readonly Contender[]): Promise<readonly Contender[]> {
  const removed: Contender[] = [];
  for (const fencingToken of new Set(chosen.map((holder) => holder.fencingToken))) {
    removed.push(...(await locker.breakLock(name, { fencingToken })));
  }
  // With the times of the leases, which breakLock() does not read.
  return chosen.filter(({ key }) => removed.some((one) => one.key === key));
}

/** Asks on the terminal. An end of the input counts as no. */
async function confirm(chosen: readonly Contender[], signal: AbortSignal): Promise<boolean> {
  const who = chosen.length === 1 ? 'this holder' : `these ${String(chosen.length)} holders`;
  process.stderr.write(`${formatContenders(chosen)}\nA process that still runs may go on working without the lock.\n`);
  const { createInterface } = await import('node:readline/promises');
  // Not `terminal: true`, which would take ^C away from the process.
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const ended = new Promise<string>((resolve) => {
    lines.once('close', () => {
      resolve('');
    });
  });
  try {
    return /^y(es)?$/i.test((await Promise.race([lines.question(`Remove ${who}? [y/N] `, { signal }), ended])).trim());
  } finally {
    lines.close();
  }
}

function describeNobody(name: string, token: bigint | undefined, isHeld: boolean): string {
  if (!isHeld) return `Lock ${quote(name)} is free: there is nobody to remove`;
  return `No holder of lock ${quote(name)} has the token ${String(token)}: nothing was removed`;
}
