/** The command as it was built, as a process of its own. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess, type Ending } from '../support/run/processes.ts';

export const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** No variable of the machine's own for etcdctl may get in. */
export const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCDCTL_')));

/** Below the five seconds that a request to etcd may take, and enough for a busy machine. */
export const atOnceMs = 3_000;

type Env = Readonly<Record<string, string>>;

export const start = (args: readonly string[], env: Env = {}): TestProcess =>
  new TestProcess(process.execPath, [main, ...args], { ...clean, ...env }, { detached: true });

export interface Outcome extends Ending {
  readonly stdout: string;
}

/** Runs it to its end. */
export function outcome(args: readonly string[], env: Env = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [main, ...args], { env: { ...clean, ...env } }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr });
    });
  });
}

export interface CommandStage extends Stage<EtcdServer> {
  /** Those that lead to its etcd. */
  readonly options: readonly string[];
  /** To its end. */
  readonly run: (...args: readonly string[]) => Promise<Outcome>;
  readonly launch: (...args: readonly string[]) => TestProcess;
}

/** At its end it also asserts that no key and no lease is left of any command. */
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

/** A script for `node -e` as the command under the lock: it tells where it is, a line each. */
export const script = (text: string): string[] => ['--', process.execPath, '-e', text];

/** Stays until it is told to go, and tells the signals that reach it. */
export const listener = (then = 'process.exit(0)'): string[] =>
  script(
    `let n = 0;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'])
      process.on(name, () => { console.log(name + ' ' + ++n); if (name === 'SIGTERM') { ${then} } });
    setInterval(() => {}, 1000);
    console.log('working ' + process.pid + ' by ' + process.ppid);`,
  );
