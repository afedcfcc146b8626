/** Signals to this process: who gets them, and how to die of one. */
import { constants } from 'node:os';
import type { Ending } from './failures.ts';

/** Those that end a process that does not know them. */
const ending = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
const all = [...ending, 'SIGUSR1', 'SIGUSR2'] as const;

export const isEnding = (signal: NodeJS.Signals): boolean => ending.some((one) => one === signal);

/** Takes this process's signals from its creation to its `close`; whoever is to have them may change meanwhile, and none is lost. */
export class SignalInbox {
  #receive: (signal: NodeJS.Signals) => void;
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#receive(signal);
  };

  constructor(receive: (signal: NodeJS.Signals) => void) {
    this.#receive = receive;
    for (const signal of all) process.on(signal, this.#onSignal);
  }

  deliverTo(receive: (signal: NodeJS.Signals) => void): void {
    this.#receive = receive;
  }

  /** From now on they do what they do by default. */
  close(): void {
    for (const signal of all) process.off(signal, this.#onSignal);
  }
}

/** The first signal that asks this process to end. A second one ends it at once, whatever it is at. */
export class Interruption {
  readonly inbox: SignalInbox;
  readonly #controller = new AbortController();
  #by: NodeJS.Signals | undefined;

  constructor() {
    this.inbox = new SignalInbox((signal) => {
      if (!isEnding(signal)) return;
      this.#by = signal;
      this.inbox.close();
      this.#controller.abort();
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How the process is to end, where one came. */
  get ending(): Ending | undefined {
    return this.#by === undefined ? undefined : { signal: this.#by };
  }
}

// Of the others some leave a core file, which would be ours and not the command's, and SIGUSR1 starts Node's debugger.
const clean: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL', 'SIGALRM', 'SIGUSR2'];

/** Long enough for a signal to ourselves. */
const patienceMs = 200;

/** Ends this process: whoever waits for it sees the same signal, or 128 and its number as shells have it. */
export function finish(how: Ending): void {
  if ('status' in how) process.exit(how.status);
  const { signal } = how;
  const status = 128 + constants.signals[signal];
  if (!clean.includes(signal)) process.exit(status);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // The first process of a container does not die of its own signals.
  setTimeout(() => process.exit(status), patienceMs);
}
