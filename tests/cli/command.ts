/** Runs the built command as a child process. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess, type Ending } from '../support/run/processes.ts';

export const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** The environment without the ETCDCTL variables of this machine. */
export const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCDCTL_')));

/** Less than the time limit of a request to etcd (5 s), but enough for a busy machine. */
export const atOnceMs = 3_000;

type Env = Readonly<Record<string, string>>;

export const start = (args: readonly string[], env: Env = {}): TestProcess =>
  new TestProcess(process.execPath, [main, ...args], { ...clean, ...env }, { detached: true });

export interface Outcome extends Ending {
  readonly stdout: string;
}

/** Runs the command and resolves when it has ended. */
export const outcome = (args: readonly string[], env: Env = {}): Promise<Outcome> => execute(process.execPath, [main, ...args], env);

/** Runs a script of `sh`, in which "$@" is the command with `options`. */
export const shell = (text: string, options: readonly string[], env: Env = {}): Promise<Outcome> =>
  execute('sh', ['-c', text, 'sh', process.execPath, main, ...options], env);

function execute(file: string, args: readonly string[], env: Env): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(file, args, { env: { ...clean, ...env } }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr });
    });
  });
}

export interface CommandStage extends Stage<EtcdServer> {
  /** The options for the etcd and the prefix of this stage. */
  readonly options: readonly string[];
  /** Runs the command and resolves when it has ended. */
  readonly run: (...args: readonly string[]) => Promise<Outcome>;
  readonly launch: (...args: readonly string[]) => TestProcess;
}

/** Its disposal also asserts that the commands left no key and no lease. */
export async function openCommandStage(): Promise<CommandStage> {
  const stage = await openStage();
  const options = ['--hosts', stage.server.endpoints.join(','), '--prefix', stage.prefix];
  return {
    ...stage,
    options,
    run: (...args) => outcome([...options, ...args]),
    launch: (...args) => start([...options, ...args]),
  };
}

/** A script for `node -e` as COMMAND. It prints a line for each step. */
export const script = (text: string): string[] => ['--', process.execPath, '-e', text];

/** A COMMAND that prints each signal it receives, and runs `then` at SIGTERM. */
export const listener = (then = 'process.exit(0)'): string[] =>
  script(
    `let n = 0;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'])
      process.on(name, () => { console.log(name + ' ' + ++n); if (name === 'SIGTERM') { ${then} } });
    setInterval(() => {}, 1000);
    console.log('working ' + process.pid + ' by ' + process.ppid);`,
  );
