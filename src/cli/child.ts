/**
 * The command as a process.
 *
 * Under a terminal it stays in our process group, so that it may read from the terminal; what is typed there (^C) it gets from the
 * terminal, and not once more from us. Without one it leads a group of its own: each signal reaches all of its processes, once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { printError, type Ending, exitStatus } from './failures.ts';
import { hasTerminal, isInForeground } from './terminal.ts';

/** How often to look whether the last of a group has ended, which nobody is told. */
const lookMs = 20;

export class Child {
  readonly ended: Promise<Ending>;
  /** None where the system refused to make one. */
  readonly #process: ChildProcess | undefined;
  readonly #leadsGroup = !hasTerminal();

  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    let child: ChildProcess;
    try {
      child = spawn(file, args, { stdio: 'inherit', env, detached: this.#leadsGroup });
    } catch (error) {
      // What Node does not tell by an event: ENOTDIR, ENAMETOOLONG, E2BIG and others.
      this.ended = Promise.resolve(notStarted(file, error as NodeJS.ErrnoException));
      return;
    }
    this.#process = child;
    this.ended = new Promise((resolve) => {
      child.on('error', (error: NodeJS.ErrnoException) => {
        if (child.pid === undefined) resolve(notStarted(file, error));
        else printError(`cannot signal the command: ${error.message}`); // as one that has become another user
      });
      child.once('exit', (code, signal) => {
        resolve(signal === null ? { status: code ?? exitStatus.software } : { signal });
      });
    });
  }

  /** Sends it a signal that came to us. */
  pass(signal: NodeJS.Signals): void {
    const isTyped = signal === 'SIGINT' || signal === 'SIGQUIT';
    if (isTyped && !this.#leadsGroup && isInForeground()) return;
    this.#send(signal);
  }

  /** Resolves when it has ended, with all of its group where it leads one: asked by SIGTERM, after `graceMs` made to by SIGKILL. */
  async stop(graceMs: number): Promise<void> {
    this.#send('SIGTERM');
    const over = new AbortController();
    const timer = setTimeout(() => {
      this.#send('SIGKILL');
      over.abort();
    }, graceMs);
    try {
      await this.ended;
      while (this.#leadsGroup && !over.signal.aborted && this.#send(0)) await sleep(lookMs);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether there was somebody to send it to. */
  #send(signal: NodeJS.Signals | 0): boolean {
    if (this.#process?.pid === undefined) return false;
    if (!this.#leadsGroup) return this.#process.kill(signal);
    try {
      return process.kill(-this.#process.pid, signal);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ESRCH') return false;
      if (signal !== 0) printError(`cannot signal the command: ${message}`);
      return true;
    }
  }
}

/** As shells have it: 127 where there is none, 126 where there is something that cannot be run. */
function notStarted(file: string, { code, message }: NodeJS.ErrnoException): Ending {
  const isMissing = code === 'ENOENT';
  printError(`cannot run ${JSON.stringify(file)}: ${isMissing ? 'no such command' : message}`);
  return { status: isMissing ? exitStatus.notFound : exitStatus.cannotRun };
}
