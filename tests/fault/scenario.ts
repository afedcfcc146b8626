/** A cluster, clients in processes of their own, faults, and the judge at the end. */
import { appendFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import type { EtcdCluster, EtcdMember } from '../support/etcd/etcd.ts';
import { eventually, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';
import { livenessBoundMs } from './bounds.ts';
import { inOrder, isEvent, now, type Event } from './history.ts';
import { judge, judgeEnding, type Figures, type Violation } from './judge.ts';
import type { ClientPlan, Work } from './plan.ts';
import type { Row } from './table.ts';

export interface ScenarioOptions {
  readonly ttlMs?: number;
  readonly requestTimeoutMs?: number;
  readonly auth?: ClientPlan['auth'];
  /** For how long nobody can take or renew a lock, by what the scenario does. */
  readonly outageMs?: number;
  readonly mostOverlapMs?: number;
  readonly allowed?: readonly string[];
  /** Between the end of the clients and the reading of what they left in etcd. */
  readonly afterClients?: () => Promise<void>;
}

/** What a client does, and through which hosts; the first one is asked first. */
export type ClientOptions = { readonly hosts?: readonly string[]; readonly callers: readonly Work[] } & Partial<
  Pick<ClientPlan, 'ttlMs' | 'requestTimeoutMs' | 'seed'>
>;

const script = fileURLToPath(new URL('client.ts', import.meta.url));
let scenarios = 0;

export class Scenario implements AsyncDisposable {
  readonly stage: Stage<EtcdCluster>;
  readonly boundMs: number;
  readonly #title: string;
  readonly #options: ScenarioOptions & { readonly ttlMs: number; readonly requestTimeoutMs: number };
  readonly #counters = `counters/${String((scenarios += 1))}/`;
  readonly #clients: Client[] = [];
  readonly #done: Event[] = [];
  readonly #startedAt = now();
  #isOver = false;

  constructor(title: string, stage: Stage<EtcdCluster>, options: ScenarioOptions = {}) {
    const { ttlMs = 2_000, requestTimeoutMs = 1_500 } = options;
    this.#title = title;
    this.stage = stage;
    this.#options = { ...options, ttlMs, requestTimeoutMs };
    this.boundMs = livenessBoundMs(this.#options);
  }

  get cluster(): EtcdCluster {
    return this.stage.server;
  }

  client({ hosts = this.cluster.endpoints, callers, ...more }: ClientOptions): Client {
    const { ttlMs, requestTimeoutMs, auth } = this.#options;
    const client = new Client(
      {
        client: `c${String(this.#clients.length + 1)}`,
        hosts,
        members: this.cluster.endpoints,
        prefix: this.stage.prefix,
        counters: this.#counters,
        ttlMs,
        requestTimeoutMs,
        auth,
        seed: 1,
        callers,
        ...more,
      },
      (event) => this.#done.push(event),
    );
    this.#clients.push(client);
    return client;
  }

  /** Injects a fault, which is counted; `what` is for people. */
  async fault(what: string, target: string, inject: () => unknown): Promise<void> {
    this.#done.push({ step: 'fault', at: now(), client: target, what });
    await inject();
  }

  /** All that was told so far. */
  get history(): Event[] {
    return inOrder([...this.#done, ...this.#clients.flatMap(({ events }) => events)]);
  }

  get locks(): number {
    return this.#clients.reduce((sum, { locks }) => sum + locks, 0);
  }

  /** Waits until `count` more locks were taken. */
  async progress(count: number): Promise<void> {
    const before = this.locks;
    await eventually(() => {
      const more = this.locks - before;
      if (more < count) throw new Error(`${String(more)} locks were taken, not ${String(count)}`);
    }, this.boundMs + 10_000);
  }

  /** Ends the clients, judges, tells the figures, and asserts that nothing is left in etcd. */
  async end(): Promise<Figures> {
    const { allowed, mostOverlapMs } = this.#options;
    const violations: Violation[] = [];
    for (const ended of await Promise.all(this.#clients.map((client) => client.end()))) violations.push(...ended);
    await this.#options.afterClients?.();
    for (const { key, value } of await this.stage.etcd.keys(this.#counters)) {
      this.#done.push({ step: 'total', at: now(), client: '-', name: key.slice(this.#counters.length), value: Number(value) });
    }
    const { figures, violations: more } = judge(this.history, {
      boundMs: this.boundMs,
      ...(allowed === undefined ? {} : { allowed }),
      ...(mostOverlapMs === undefined ? {} : { mostOverlapMs }),
    });
    violations.push(...more);
    this.#record(figures, violations.length);
    if (violations.length > 0)
      throw new Error(`${this.#title}: ${violations.map(({ rule, message }) => `${rule}: ${message}`).join('\n')}`);
    await this.stage.clear();
    this.#isOver = true;
    return figures;
  }

  /** Where it has not come to its end, its history is kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
    if (this.#isOver) return;
    const file = join(mkdtempSync(join(tmpdir(), 'fault-history-')), 'history.jsonl');
    writeFileSync(file, this.history.map((event) => `${JSON.stringify(event)}\n`).join(''));
    console.log(`The history of '${this.#title}' is in ${file}`);
  }

  #record(figures: Figures, violations: number): void {
    const row: Row = { scenario: this.#title, ...figures, boundMs: this.boundMs, violations, tookMs: now() - this.#startedAt };
    appendFileSync(inject('faultFigures'), `${JSON.stringify(row)}\n`);
  }
}

/** One process. */
export class Client implements AsyncDisposable {
  readonly id: string;
  readonly #process: TestProcess;
  readonly #note: (event: Event) => void;
  #wasKilled = false;
  #isFrozen = false;
  #counted = 0;
  #locks = 0;

  constructor(plan: ClientPlan, note: (event: Event) => void) {
    this.id = plan.client;
    this.#note = note;
    // So many starts of the same program are what takes most of the time.
    const env = { ...process.env, NODE_COMPILE_CACHE: join(dirname(inject('faultFigures')), 'compiled') };
    this.#process = new TestProcess(process.execPath, [script, JSON.stringify(plan)], env);
  }

  get events(): Event[] {
    return this.#process.steps.filter(isEvent);
  }

  get locks(): number {
    const { steps } = this.#process;
    for (; this.#counted < steps.length; this.#counted += 1) {
      const step = steps[this.#counted];
      if (step !== undefined && isEvent(step) && step.step === 'held') this.#locks += step.holds.length;
    }
    return this.#locks;
  }

  /** How often its callers have told `step`. */
  count(step: string): number {
    return this.#process.steps.filter((one) => one.step === step).length;
  }

  /** Waits until it has told `step` so many times, and gives the last of them. */
  async told<Step extends Event['step']>(step: Step, times = 1): Promise<Event & { readonly step: Step }> {
    const find = () => this.events.filter((event): event is Event & { readonly step: Step } => event.step === step);
    await this.reached(step, times);
    const event = find()[times - 1];
    if (event === undefined) throw new Error(`${this.id} has not told '${step}'`);
    return event;
  }

  async reached(step: string, times = 1): Promise<void> {
    await eventually(async () => {
      if (this.count(step) >= times) return;
      if (!this.#process.isRunning) throw new Error(`${this.id} has ended: ${JSON.stringify(await this.#process.ended)}`);
      throw new Error(`${this.id} told '${step}' ${String(this.count(step))} times, not ${String(times)}`);
    }, 20_000);
  }

  /** The next step of a caller that waits for it. */
  async go(): Promise<void> {
    await this.#process.reached('ready'); // before, it would die of it
    this.#process.signal('SIGUSR2');
  }

  freeze(): void {
    this.#tell('frozen');
    this.#process.signal('SIGSTOP');
  }

  wake(): void {
    this.#process.signal('SIGCONT');
    this.#tell('woken');
  }

  async kill(): Promise<void> {
    this.#tell('killed');
    this.#process.signal('SIGKILL');
    await this.#process.ended;
  }

  /** Tells it to end, and how that went. */
  async end(): Promise<Violation[]> {
    if (this.#isFrozen) this.wake();
    if (this.#process.isRunning) await this.#process.reached('ready');
    this.#process.signal('SIGTERM');
    const patience = new AbortController();
    const ending = await Promise.race([this.#process.ended, sleep(20_000, undefined, { signal: patience.signal }).catch(() => undefined)]);
    patience.abort();
    if (ending === undefined) return [{ rule: 'error', message: `${this.id} does not end` }];
    return judgeEnding(this.id, ending, this.#wasKilled);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }

  #tell(step: 'frozen' | 'woken' | 'killed'): void {
    if (step === 'killed') this.#wasKilled = true;
    else this.#isFrozen = step === 'frozen';
    this.#note({ step, at: now(), client: this.id });
  }
}

/** All members, `first` before the others. */
export const hostsFrom = (cluster: EtcdCluster, first: EtcdMember): string[] =>
  [first, ...cluster.members.filter((member) => member !== first)].map(({ endpoint }) => endpoint);

/** Starts those that do not run, wakes those that are frozen, and waits for a quorum. */
export async function mend(cluster: EtcdCluster): Promise<void> {
  cluster.rejoin();
  for (const member of cluster.members) if (member.pid !== undefined && !member.isAwake) member.thaw();
  await Promise.all(cluster.members.filter(({ pid }) => pid === undefined).map((member) => member.start()));
}
