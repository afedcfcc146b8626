/** Implements `etcd-locker inspect`, `list` and `watch`: prints the state of locks to stdout. */
import type { Locker, LockState } from 'etcd-locker';
import type { ShowCommand } from './arguments.ts';
import { type Ending, exitStatus } from './failures.ts';
import { write } from './output.ts';
import { changeHeader, formatChange, formatDetails, formatList, toJson } from './states.ts';
import { withLocker } from './with-locker.ts';

/**
 * @throws {LockerError} etcd could not be read
 * @throws {OutputError} stdout could not be written to
 */
export async function show(command: ShowCommand): Promise<Ending> {
  return withLocker(command.locker, (locker) => printers[command.kind](locker, command));
}

/** Resolves with the exit status, if that is not 0. */
type Printer = (locker: Locker, command: ShowCommand) => Promise<number | undefined>;

const printers: Readonly<Record<ShowCommand['kind'], Printer>> = {
  async inspect(locker, { name, json, isCheck }) {
    const state = await locker.inspect(name ?? '');
    if (isCheck) return state.held ? exitStatus.tempFail : undefined;
    await write(json ? toJson(state) : formatDetails(state));
    return undefined;
  },

  async list(locker, { name, json }) {
    const states: LockState[] = [];
    for await (const state of locker.list({ startsWith: name })) {
      if (json) await write(toJson(state));
      else states.push(state);
    }
    if (!json) await write(formatList(states));
    return undefined;
  },

  async watch(locker, { name, json }) {
    const hasNames = name === undefined;
    if (!json) await write(changeHeader(hasNames));
    const states = hasNames ? locker.watch({ failFast: true }) : locker.watch(name, { failFast: true });
    for await (const state of states) await write(json ? toJson(state) : formatChange(state, new Date(), hasNames));
    return undefined;
  },
};
