/** Callers of other programs for the interop tests: Go's clientv3/concurrency in two versions, `etcdctl lock`, and the locker. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Lock, Locker, LockOptions } from 'etcd-locker';
import { cacheDir } from '../support/etcd/source.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { runGo } from '../support/run/go.ts';
import { TestProcess } from '../support/run/processes.ts';

const source = fileURLToPath(new URL('go/', import.meta.url));

/** The versions of Go's client, each with the file that pins its modules. */
const modules = { '3.6.16': 'go.mod', '3.7.3': 'go-3.7.mod' } as const;

export type GoVersion = keyof typeof modules;
export const goVersions = Object.keys(modules) as readonly GoVersion[];

export type GoPrograms = Readonly<Record<GoVersion, string>>;

/** Builds the peers into the cache. Returns the reason if that fails: no `go`, or modules that cannot be fetched. */
export async function buildGoPeers(): Promise<{ readonly programs: GoPrograms } | { readonly reason: string }> {
  const folder = join(cacheDir, '..', 'interop');
  const build = async (version: GoVersion): Promise<string> => {
    const program = join(folder, `peer-${version}`);
    await runGo(['build', `-modfile=${modules[version]}`, '-o', program, '.'], { cwd: source });
    return program;
  };
  try {
    await mkdir(folder, { recursive: true });
    return { programs: { '3.6.16': await build('3.6.16'), '3.7.3': await build('3.7.3') } };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Somebody who wants a lock: it waits from its creation on. */
export interface Caller {
  readonly title: string;
  readonly isHolding: boolean;
  /** Resolves when the caller holds the lock. */
  readonly held: () => Promise<void>;
  readonly release: () => Promise<void>;
  /** Leaves the queue before its turn. */
  readonly cancel: () => Promise<void>;
}

export type How = 'mutex' | 'try' | 'election';

/** A Go process with any number of callers. Each caller has a lease of its own. */
export class GoPeer implements AsyncDisposable {
  readonly process: TestProcess;
  readonly #version: GoVersion;
  #count = 0;

  constructor(programs: GoPrograms, version: GoVersion, { hosts, ttlMs }: { readonly hosts: readonly string[]; readonly ttlMs: number }) {
    this.#version = version;
    this.process = new TestProcess(programs[version], [hosts.join(','), String(ttlMs / 1_000)], {}, { stdin: 'pipe' });
  }

  order(fields: Readonly<Record<string, unknown>>): void {
    this.process.type(`${JSON.stringify(fields)}\n`);
  }

  /** Starts a caller of the queue at `path`: the prefix of the locker and the encoded name. */
  lock(path: string, how: How = 'mutex', value = ''): Caller & { readonly id: string } {
    const id = `${how}-${String(this.#count++)}`;
    this.order({ do: 'lock', caller: id, path, how, value });
    const hasStep = (step: string): boolean => this.process.steps.some((one) => one.step === step);
    return {
      id,
      title: `Go ${this.#version} ${id}`,
      get isHolding() {
        return hasStep(`held ${id}`) && !hasStep(`released ${id}`);
      },
      held: async () => {
        await this.process.reached(`held ${id}`);
      },
      release: async () => {
        this.order({ do: 'release', caller: id });
        await this.process.reached(`released ${id}`);
      },
      cancel: async () => {
        this.order({ do: 'cancel', caller: id });
        await this.process.reached(new RegExp(`^failed ${id}: .*context canceled`));
      },
    };
  }

  /** Tries once, and returns whether the caller got the lock. */
  async tryLock(path: string): Promise<(Caller & { readonly id: string }) | null> {
    const caller = this.lock(path, 'try');
    await this.process.reached(new RegExp(`^(held|busy) ${caller.id}$`));
    return caller.isHolding ? caller : null;
  }

  /** Lets the process end its sessions, and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.isRunning) this.order({ do: 'close' });
    await this.process.ended;
  }
}

/** Starts `etcdctl lock`. It prints its key when it holds the lock, and leaves the queue on SIGINT. */
export function startEtcdctl(etcdctl: string, endpoint: string, path: string): Caller & AsyncDisposable {
  const process = new TestProcess(etcdctl, ['--endpoints', endpoint, 'lock', path, '--ttl', '2'], { ETCDCTL_API: '3' });
  const holding = /\/[0-9a-f]+$/;
  const leave = async (): Promise<void> => {
    process.signal('SIGINT');
    await process.ended;
  };
  return {
    title: 'etcdctl',
    get isHolding() {
      return process.isRunning && process.steps.some(({ step }) => holding.test(step));
    },
    held: async () => {
      await process.reached(holding);
    },
    release: leave,
    cancel: leave,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

export function startLocking(locker: Locker, name: string, options: LockOptions = {}): Caller & { readonly lock: Promise<Lock> } {
  const controller = new AbortController();
  const locking = follow(locker.lock(name, { ...options, signal: controller.signal }));
  return {
    title: 'locker',
    lock: locking.promise,
    get isHolding() {
      return locking.value?.held === true;
    },
    held: async () => {
      await locking.promise;
    },
    release: async () => {
      await (await locking.promise).release();
    },
    cancel: async () => {
      controller.abort();
      await locking.promise.catch(() => undefined);
    },
  };
}

/** Lets the callers hold one after another, and returns the titles in the order in which they held. Throws if two hold at one time. */
export async function drain(callers: readonly Caller[]): Promise<string[]> {
  const order: string[] = [];
  const waiting = new Set(callers);
  while (waiting.size > 0) {
    await eventually(() => {
      if (![...waiting].some(({ isHolding }) => isHolding)) throw new Error(`Nobody holds: ${describe(waiting)}`);
    });
    const holders = [...waiting].filter(({ isHolding }) => isHolding);
    const [holder] = holders;
    if (holder === undefined || holders.length > 1) throw new Error(`Two hold at one time: ${describe(holders)}`);
    order.push(holder.title);
    await holder.release();
    waiting.delete(holder);
  }
  return order;
}

const describe = (callers: Iterable<Caller>): string => [...callers].map(({ title }) => title).join(', ');
