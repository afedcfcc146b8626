/**
 * Runs COMMAND as a child process, forwards signals to it, and stops it.
 *
 * With a terminal the child stays in the process group of etcd-locker, so that it can read from the terminal. The terminal sends
 * its signals (^C) to the whole group, so etcd-locker does not forward those. Without a terminal the child leads a group of its
 * own, and each signal goes to the whole group.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { quote } from '../text.ts';
import { printError, type Ending, exitStatus } from './failures.ts';
import { hasTerminal, isInForeground } from './terminal.ts';

/** How often to check whether the group is empty: the system sends no event when its last process ends. */
const groupPollMs = 20;

/** What the child gets of this process, beside stdin, stdout and stderr. */
export interface Inheritance {
  readonly env: NodeJS.ProcessEnv;
  /** Open file descriptors from 3 on. The child gets them under the same numbers. */
  readonly descriptors: readonly number[];
}

export class Child {
  readonly ended: Promise<Ending>;
  /** Undefined if the system refused to start a process. */
  readonly #process: ChildProcess | undefined;
  readonly #leadsGroup = !hasTerminal();

  constructor(file: string, args: readonly string[], { env, descriptors }: Inheritance) {
    let child: ChildProcess;
    try {
      child = spawn(file, args, { stdio: inherit([0, 1, 2, ...descriptors]), env, detached: this.#leadsGroup });
    } catch (error) {
      // Node throws some errors instead of emitting them: ENOTDIR, ENAMETOOLONG, E2BIG and others.
      this.ended = Promise.resolve(reportFailedStart(file, error as NodeJS.ErrnoException));
      return;
    }
    this.#process = child;
    this.ended = new Promise((resolve) => {
      child.on('error', (error: NodeJS.ErrnoException) => {
        if (child.pid === undefined) resolve(reportFailedStart(file, error));
        else printError(`Cannot signal the command: ${error.message}`); // for example after it changed its user
      });
      child.once('exit', (code, signal) => {
        resolve(signal === null ? { status: code ?? exitStatus.software } : { signal });
      });
    });
  }

  /** Forwards a signal that etcd-locker received. */
  forward(signal: NodeJS.Signals): void {
    const isTyped = signal === 'SIGINT' || signal === 'SIGQUIT';
    if (isTyped && !this.#leadsGroup && isInForeground()) return;
    this.#send(signal);
  }

  /**
   * Sends SIGTERM, and SIGKILL after `graceMs`. Resolves when the child has ended. If the child leads a group, waits until the
   * group is empty or SIGKILL is sent.
   */
  async stop(graceMs: number): Promise<void> {
    this.#send('SIGTERM');
    const killed = new AbortController();
    const timer = setTimeout(() => {
      this.#send('SIGKILL');
      killed.abort();
    }, graceMs);
    try {
      await this.ended;
      while (this.#leadsGroup && !killed.signal.aborted && this.#send(0)) await sleep(groupPollMs);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Returns false if no process is left to receive the signal. */
  #send(signal: NodeJS.Signals | 0): boolean {
    if (this.#process?.pid === undefined) return false;
    if (!this.#leadsGroup) return this.#process.kill(signal);
    try {
      return process.kill(-this.#process.pid, signal);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ESRCH') return false;
      if (signal !== 0) printError(`Cannot signal the command: ${message}`);
      return true;
    }
  }
}

/** Returns a `stdio` that passes these descriptors. Numbers from 3 on that it ignores stay closed in the child. */
const inherit = (descriptors: readonly number[]): ('inherit' | 'ignore')[] =>
  Array.from({ length: Math.max(...descriptors) + 1 }, (_, fd) => (descriptors.includes(fd) ? 'inherit' : 'ignore'));

/** Uses the statuses of a shell: 127 if there is no such command, 126 if it cannot be run. */
function reportFailedStart(file: string, { code, message }: NodeJS.ErrnoException): Ending {
  const isMissing = code === 'ENOENT';
  printError(`Cannot run ${quote(file)}: ${isMissing ? 'command not found' : message}`);
  return { status: isMissing ? exitStatus.notFound : exitStatus.cannotRun };
}
