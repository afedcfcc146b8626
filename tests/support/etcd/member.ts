/** One etcd process of the test support, which tests may freeze and kill. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Identity } from '../fixtures/certificates.ts';
import { ask, waitUntilHealthy } from './http.ts';
import { forgetPid, rememberPid } from '../run/leftovers.ts';

export interface MemberPlan {
  readonly name: string;
  readonly etcd: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** The port at which other members reach it. @default `peerPort` */
  readonly advertisedPeerPort?: number | undefined;
  readonly dataDir: string;
  /** All flags except those for the name, the ports and the data of this member. */
  readonly args: readonly string[];
  /** The client certificate for health checks. undefined if the member uses no TLS. */
  readonly tls?: Partial<Identity> | undefined;
}

/** Another server has taken the port in the meantime. A retry on other ports can succeed. */
export class PortTakenError extends Error {
  override readonly name = 'PortTakenError';
}

export class EtcdMember {
  readonly name: string;
  readonly endpoint: string;
  readonly peerUrl: string;
  readonly dataDir: string;
  readonly #plan: MemberPlan;
  #child: ChildProcess | undefined;
  #isFrozen = false;

  constructor(plan: MemberPlan) {
    this.#plan = plan;
    this.name = plan.name;
    this.dataDir = plan.dataDir;
    this.endpoint = `127.0.0.1:${String(plan.clientPort)}`;
    this.peerUrl = `http://127.0.0.1:${String(plan.advertisedPeerPort ?? plan.peerPort)}`;
  }

  /** undefined while the process is not running. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether the process runs and is not frozen. */
  get isAwake(): boolean {
    return this.#child !== undefined && !this.#isFrozen;
  }

  /**
   * Starts the process and waits until it is healthy. A restart uses the same ports and data.
   *
   * Health needs a quorum: if most members are down, start them at the same time.
   */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`Cannot start etcd member ${this.name}: it is already running`);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#startOnce();
        return;
      } catch (error) {
        // Another process that looks for free ports may hold this one for a millisecond.
        if (!(error instanceof PortTakenError) || attempt === 3) throw error;
        await sleep(200);
      }
    }
  }

  /**
   * Stops the process. Its connections stay open, and it sends no response.
   *
   * On a busy machine, threads run for some milliseconds after the signal, so this waits until all have stopped.
   */
  async freeze(): Promise<void> {
    this.#signal('SIGSTOP');
    this.#isFrozen = true;
    const { pid } = this;
    for (let tries = 0; tries < 1_000 && pid !== undefined && !(await isStopped(pid)); tries++) await sleep(1);
  }

  /** Continues a frozen process. */
  thaw(): void {
    this.#signal('SIGCONT');
    this.#isFrozen = false;
  }

  /** Kills the process, like a power cut. Resolves when it has ended, or at once if it is not running. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends the process cleanly: etcd transfers its leadership and closes its files. */
  async terminate(): Promise<void> {
    if (this.#child !== undefined) this.thaw(); // a frozen process does not handle the signal
    await this.#end('SIGTERM');
  }

  async #startOnce(): Promise<void> {
    const child = await this.#spawn();
    await waitUntilHealthy(this.endpoint, {
      assertRunning: () => {
        if (hasEnded(child)) throw this.#exitError(child);
      },
      // If another server has the port, it responds before this process fails.
      isExpectedServer: () => this.#isItself(),
      tls: this.#plan.tls,
    });
  }

  /** etcd publishes its command line, and only this process has this folder in it. */
  async #isItself(): Promise<boolean> {
    const { status, body } = await ask(this.endpoint, '/debug/vars', { tls: this.#plan.tls }).catch(() => ({ status: 0, body: '' }));
    return status === 200 && body.includes(this.dataDir);
  }

  async #spawn(): Promise<ChildProcess> {
    const { etcd, name, dataDir, args, peerPort, tls } = this.#plan;
    const client = `${tls === undefined ? 'http' : 'https'}://${this.endpoint}`;
    const flags = [
      ...['--name', name, '--data-dir', join(dataDir, 'data')],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', `http://127.0.0.1:${String(peerPort)}`, '--initial-advertise-peer-urls', this.peerUrl],
      ...args,
    ];
    const [file = etcd, ...rest] = [...(await parentDeathPrefix()), etcd, ...flags];
    const log = openSync(this.#logFile, 'w');
    const child = spawn(file, rest, { detached: true, env: envForEtcd(), stdio: ['ignore', log, log] });
    closeSync(log);
    child.on('error', () => (this.#child = undefined));
    child.once('exit', () => {
      if (child.pid !== undefined) forgetPid(child.pid);
      this.#child = undefined;
    });
    if (child.pid !== undefined) rememberPid(child.pid);
    this.#isFrozen = false;
    child.unref(); // leftovers.ts ends it, so it must not keep this process alive
    this.#child = child;
    return child;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error(`Cannot send ${signal} to etcd member ${this.name}: it is not running`);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.ref(); // the caller waits for its end
    child.kill(signal);
    await exited;
  }

  #exitError(child: ChildProcess): Error {
    const log = readFileSync(this.#logFile, 'utf8');
    const end = `etcd member ${this.name} ended with ${String(child.signalCode ?? child.exitCode)}: ${log.slice(-2_000).trim()}`;
    return log.includes('address already in use') ? new PortTakenError(end) : new Error(end);
  }

  get #logFile(): string {
    return join(this.dataDir, 'log');
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function isStopped(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return sleep(50, true);
  const threads = await readdir(`/proc/${String(pid)}/task`).catch(() => []);
  const stats = threads.map((thread) => readFile(`/proc/${String(pid)}/task/${thread}/stat`, 'utf8').catch(() => ') X'));
  return (await Promise.all(stats)).every((stat) => /\) [TXZ]/.test(stat));
}

const run = promisify(execFile);
let signalPrefix: Promise<string[]> | undefined;

/** Returns a command that makes the Linux kernel kill the server after its parent, even if the parent was killed. */
function parentDeathPrefix(): Promise<string[]> {
  const prefix = ['setpriv', '--pdeathsig', 'KILL'];
  signalPrefix ??= run('setpriv', [...prefix.slice(1), 'true']).then(
    () => prefix,
    () => [],
  );
  return signalPrefix;
}

/** Removes all ETCD_… variables, because etcd reads them as flags. */
function envForEtcd(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD_')));
}
