/** `etcd-locker inspect`, `list` and `watch`: what etcd has of the locks, on stdout. */
import { createLocker, type Locker, type LockState } from 'etcd-locker';
import type { ShowCommand } from './arguments.ts';
import type { Ending } from './failures.ts';
import { write } from './output.ts';
import { Interruption } from './signals.ts';
import { changeHeader, changeLine, detailsTable, listTable, toJson } from './states.ts';

/**
 * @throws {LockerError} etcd could not be asked
 * @throws {OutputError} nobody takes what it told
 */
export async function show(command: ShowCommand): Promise<Ending> {
  const locker = createLocker(command.locker);
  const interruption = new Interruption();
  try {
    // Whatever it waits for, an answer or a reader, a signal ends the waiting.
    await Promise.race([texts[command.kind](locker, command), aborted(interruption.signal)]);
    return interruption.ending ?? { status: 0 };
  } catch (error) {
    if (interruption.ending === undefined) throw error;
    return interruption.ending;
  } finally {
    interruption.inbox.close();
    await locker.close();
  }
}

type Show = (locker: Locker, command: ShowCommand) => Promise<void>;

const texts: Readonly<Record<ShowCommand['kind'], Show>> = {
  async inspect(locker, { name, json }) {
    const state = await locker.inspect(name);
    await write(json ? toJson(state) : detailsTable(state));
  },

  async list(locker, { name, json }) {
    const states: LockState[] = [];
    for await (const state of locker.list({ startsWith: name })) {
      if (json) await write(toJson(state));
      else states.push(state);
    }
    if (!json) await write(listTable(states));
  },

  async watch(locker, { name, json }) {
    if (!json) await write(changeHeader);
    for await (const state of locker.watch(name)) await write(json ? toJson(state) : changeLine(state, new Date()));
  },
};

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}
