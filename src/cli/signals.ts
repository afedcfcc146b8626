/** Receives the signals of this process, and ends this process by a signal. */
import { constants } from 'node:os';
import type { Ending } from './failures.ts';

/** Signals that end a process by default. */
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
const receivedSignals = [...endingSignals, 'SIGUSR1', 'SIGUSR2'] as const;

const endsProcess = (signal: NodeJS.Signals): boolean => endingSignals.some((one) => one === signal);

/** Receives signals until `close`. The receiver can be replaced without losing a signal. */
export class SignalInbox {
  #receive: (signal: NodeJS.Signals) => void;
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#receive(signal);
  };

  constructor(receive: (signal: NodeJS.Signals) => void) {
    this.#receive = receive;
    for (const signal of receivedSignals) process.on(signal, this.#onSignal);
  }

  deliverTo(receive: (signal: NodeJS.Signals) => void): void {
    this.#receive = receive;
  }

  /** Restores the default effect of the signals. */
  close(): void {
    for (const signal of receivedSignals) process.off(signal, this.#onSignal);
  }
}

/** Aborts `signal` at the first signal that asks this process to end. A second one has its default effect and ends the process at once. */
export class Interruption {
  readonly inbox: SignalInbox;
  readonly #controller = new AbortController();
  #by: NodeJS.Signals | undefined;

  constructor() {
    this.inbox = new SignalInbox((signal) => {
      if (!endsProcess(signal)) return;
      this.#by = signal;
      this.inbox.close();
      this.#controller.abort();
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How the process has to end; undefined before the first signal. */
  get ending(): Ending | undefined {
    return this.#by === undefined ? undefined : { signal: this.#by };
  }
}

// Excludes signals that leave a core file, which would be that of etcd-locker, and SIGUSR1, which starts Node's debugger.
const safeToRaise: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL', 'SIGALRM', 'SIGUSR2'];

/** Long enough for this process to receive its own signal. */
const selfSignalTimeoutMs = 200;

/** Ends this process with a status or by a signal. If the signal does not end it, exits with 128 + its number, like a shell. */
export function endProcess(how: Ending): void {
  if ('status' in how) process.exit(how.status);
  const { signal } = how;
  const status = 128 + constants.signals[signal];
  if (!safeToRaise.includes(signal)) process.exit(status);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // The first process of a container survives its own signals.
  setTimeout(() => process.exit(status), selfSignalTimeoutMs);
}
