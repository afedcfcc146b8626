/** One etcd process that we started, and may therefore freeze and kill. */
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
  /** Where the other members reach it. @default `peerPort` */
  readonly advertisedPeerPort?: number | undefined;
  readonly dataDir: string;
  /** All flags that are not about this member's own name, ports and data. */
  readonly args: readonly string[];
  /** With which its health is asked; undefined where it speaks plainly with its clients. */
  readonly tls?: Partial<Identity> | undefined;
}

/** The server could not have a port that was free a moment ago: worth another try on other ports. */
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

  /** undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether it can be expected to answer. */
  get isAwake(): boolean {
    return this.#child !== undefined && !this.#isFrozen;
  }

  /**
   * Starts it, again on the same ports and data where it ran before, and waits until it is healthy.
   * Healthy needs a quorum: when most members are down, start them together, not one after the other.
   */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`Cannot start etcd member ${this.name}: it runs already`);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#startOnce();
        return;
      } catch (error) {
        // Whoever looks for free ports at this moment may hold ours for a millisecond.
        if (!(error instanceof PortTakenError) || attempt === 3) throw error;
        await sleep(200);
      }
    }
  }

  /**
   * Stops it in the middle of whatever it does; connections stay open and nothing is answered. On a busy
   * machine its threads go on for some milliseconds after the signal, so this waits until all stand still.
   */
  async freeze(): Promise<void> {
    this.#signal('SIGSTOP');
    this.#isFrozen = true;
    const { pid } = this;
    for (let tries = 0; tries < 1_000 && pid !== undefined && !(await standsStill(pid)); tries++) await sleep(1);
  }

  thaw(): void {
    this.#signal('SIGCONT');
    this.#isFrozen = false;
  }

  /** As a power cut does it; resolves when the process is gone, at once when there is none. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As an administrator does it: etcd hands over its leadership and closes its files. */
  async terminate(): Promise<void> {
    if (this.#child !== undefined) this.thaw(); // frozen, it would not see the signal
    await this.#end('SIGTERM');
  }

  async #startOnce(): Promise<void> {
    const child = await this.#spawn();
    await waitUntilHealthy(this.endpoint, {
      stillWorthIt: () => {
        if (hasEnded(child)) throw this.#deathOf(child);
      },
      // If the port is another server's, that one answers before ours has given up.
      isTheOne: () => this.#answersItself(),
      tls: this.#plan.tls,
    });
  }

  /** etcd shows its command line, and no other has this folder in it. */
  async #answersItself(): Promise<boolean> {
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
    const [file = etcd, ...rest] = [...(await leash()), etcd, ...flags];
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
    child.unref(); // leftovers.ts ends it, so it need not keep this process alive
    this.#child = child;
    return child;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.kill(signal) !== true) throw new Error(`Cannot send ${signal} to etcd member ${this.name}: it does not run`);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.ref(); // somebody waits for it now
    child.kill(signal);
    await gone;
  }

  #deathOf(child: ChildProcess): Error {
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

async function standsStill(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') return sleep(50, true);
  const threads = await readdir(`/proc/${String(pid)}/task`).catch(() => []);
  const stats = threads.map((thread) => readFile(`/proc/${String(pid)}/task/${thread}/stat`, 'utf8').catch(() => ') X'));
  return (await Promise.all(stats)).every((stat) => /\) [TXZ]/.test(stat));
}

const run = promisify(execFile);
let leashed: Promise<string[]> | undefined;

/** On Linux the kernel ends a server whose parent was killed; no handler of ours runs then. */
function leash(): Promise<string[]> {
  const prefix = ['setpriv', '--pdeathsig', 'KILL'];
  leashed ??= run('setpriv', [...prefix.slice(1), 'true']).then(
    () => prefix,
    () => [],
  );
  return leashed;
}

/** etcd takes every ETCD_… variable for a flag; ours, and those of a server on this machine, are not for it. */
function envForEtcd(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD_')));
}
