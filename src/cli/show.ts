/** `etcd-locker inspect`, `list` and `watch`: what etcd has of the locks, on stdout. */
import { once } from 'node:events';
import { createLocker, type Locker, type LockState } from 'etcd-locker';
import type { ShowCommand } from './arguments.ts';
import type { Ending } from './failures.ts';
import { Interruption } from './signals.ts';
import { changeHeader, changeLine, detailsTable, listTable, toJson } from './states.ts';

/** @throws {LockerError} etcd could not be asked */
export async function show(command: ShowCommand): Promise<Ending> {
  const locker = createLocker(command.locker);
  const interruption = new Interruption();
  const output = new Output();
  const signal = AbortSignal.any([interruption.signal, output.signal]);
  try {
    await texts[command.kind](locker, command, signal, output);
    return interruption.ending ?? output.ending;
  } catch (error) {
    if (!signal.aborted) throw error;
    return interruption.ending ?? output.ending;
  } finally {
    interruption.inbox.close();
    await locker.close();
  }
}

type Show = (locker: Locker, command: ShowCommand, signal: AbortSignal, output: Output) => Promise<void>;

const texts: Readonly<Record<ShowCommand['kind'], Show>> = {
  async inspect(locker, { name, json }, signal, output) {
    const state = await Promise.race([locker.inspect(name), aborted(signal)]);
    await output.write(json ? toJson(state) : detailsTable(state));
  },

  async list(locker, { name, json }, signal, output) {
    const states: LockState[] = [];
    for await (const state of locker.list({ startsWith: name })) {
      signal.throwIfAborted();
      if (json) await output.write(toJson(state));
      else states.push(state);
    }
    if (!json) await output.write(listTable(states));
  },

  async watch(locker, { name, json }, signal, output) {
    if (!json) await output.write(changeHeader);
    for await (const state of locker.watch(name, { signal })) await output.write(json ? toJson(state) : changeLine(state, new Date()));
  },
};

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}

/** stdout, whose reader may be slow, or gone as after `| head -1`. */
class Output {
  readonly #gone = new AbortController();

  constructor() {
    process.stdout.on('error', () => {
      this.#gone.abort();
    });
  }

  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /** As a program that does not know of SIGPIPE ends by it. */
  get ending(): Ending {
    return this.signal.aborted ? { signal: 'SIGPIPE' } : { status: 0 };
  }

  async write(text: string): Promise<void> {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain', { signal: this.signal });
  }
}
