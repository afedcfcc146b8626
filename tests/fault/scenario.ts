/** A scenario: a cluster, client processes, faults, and the verdict of the judge at the end. */
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
  /** The time in which the faults of the scenario let no client acquire or renew a lock. */
  readonly outageMs?: number;
  readonly maxOverlapMs?: number;
  readonly allowedCodes?: readonly string[];
  /** Runs after the clients have ended, before the counters are read. */
  readonly afterClients?: () => Promise<void>;
}

/** The work of a client and its hosts. It starts with the first host. */
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
  readonly #ownEvents: Event[] = [];
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
      (event) => this.#ownEvents.push(event),
    );
    this.#clients.push(client);
    return client;
  }

  /** Injects a fault and counts it. `what` is its text in the history. */
  async fault(what: string, target: string, inject: () => unknown): Promise<void> {
    this.#ownEvents.push({ step: 'fault', at: now(), client: target, what });
    await inject();
  }

  /** All events so far. */
  get history(): Event[] {
    return inOrder([...this.#ownEvents, ...this.#clients.flatMap(({ events }) => events)]);
  }

  get locks(): number {
    return this.#clients.reduce((sum, { locks }) => sum + locks, 0);
  }

  /** Waits until the clients have acquired `count` more locks. */
  async waitForLocks(count: number): Promise<void> {
    const before = this.locks;
    await eventually(() => {
      const more = this.locks - before;
      if (more < count) throw new Error(`${String(more)} of ${String(count)} locks were acquired`);
    }, this.boundMs + 10_000);
  }

  /** Ends the clients, judges their histories, checks that nothing is left in etcd, and returns the figures. */
  async end(): Promise<Figures> {
    const { allowedCodes, maxOverlapMs } = this.#options;
    const violations: Violation[] = [];
    for (const ended of await Promise.all(this.#clients.map((client) => client.end()))) violations.push(...ended);
    await this.#options.afterClients?.();
    for (const { key, value } of await this.stage.etcd.keys(this.#counters)) {
      this.#ownEvents.push({ step: 'total', at: now(), client: '-', name: key.slice(this.#counters.length), value: Number(value) });
    }
    const { figures, violations: more } = judge(this.history, {
      boundMs: this.boundMs,
      ...(allowedCodes === undefined ? {} : { allowedCodes }),
      ...(maxOverlapMs === undefined ? {} : { maxOverlapMs }),
    });
    violations.push(...more);
    this.#appendFigures(figures, violations.length);
    if (violations.length > 0)
      throw new Error(`${this.#title}: ${violations.map(({ rule, message }) => `${rule}: ${message}`).join('\n')}`);
    await this.stage.clear();
    this.#isOver = true;
    return figures;
  }

  /** Keeps the history if the scenario has failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
    if (this.#isOver) return;
    const file = join(mkdtempSync(join(tmpdir(), 'fault-history-')), 'history.jsonl');
    writeFileSync(file, this.history.map((event) => `${JSON.stringify(event)}\n`).join(''));
    console.log(`The history of '${this.#title}' is in ${file}`);
  }

  #appendFigures(figures: Figures, violations: number): void {
    const row: Row = { scenario: this.#title, ...figures, boundMs: this.boundMs, violations, tookMs: now() - this.#startedAt };
    appendFileSync(inject('faultFigures'), `${JSON.stringify(row)}\n`);
  }
}

/** One client process. */
export class Client implements AsyncDisposable {
  readonly id: string;
  readonly #process: TestProcess;
  readonly #onEvent: (event: Event) => void;
  #wasKilled = false;
  #isFrozen = false;
  #counted = 0;
  #locks = 0;

  constructor(plan: ClientPlan, onEvent: (event: Event) => void) {
    this.id = plan.client;
    this.#onEvent = onEvent;
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

  /** Returns how often its callers have logged `step`. */
  count(step: string): number {
    return this.#process.steps.filter((one) => one.step === step).length;
  }

  /** Waits until it has logged `step` `times` times, and returns the last of these events. */
  async waitFor<Step extends Event['step']>(step: Step, times = 1): Promise<Event & { readonly step: Step }> {
    const find = () => this.events.filter((event): event is Event & { readonly step: Step } => event.step === step);
    await this.waitForCount(step, times);
    const event = find()[times - 1];
    if (event === undefined) throw new Error(`${this.id} has not logged '${step}'`);
    return event;
  }

  async waitForCount(step: string, times = 1): Promise<void> {
    await eventually(async () => {
      if (this.count(step) >= times) return;
      if (!this.#process.isRunning) throw new Error(`${this.id} has ended: ${JSON.stringify(await this.#process.ended)}`);
      throw new Error(`${this.id} logged '${step}' ${String(this.count(step))} times, not ${String(times)}`);
    }, 20_000);
  }

  /** Sends the signal for the next step. */
  async go(): Promise<void> {
    await this.#process.reached('ready'); // an earlier signal would kill it
    this.#process.signal('SIGUSR2');
  }

  freeze(): void {
    this.#report('frozen');
    this.#process.signal('SIGSTOP');
  }

  wake(): void {
    this.#process.signal('SIGCONT');
    this.#report('woken');
  }

  async kill(): Promise<void> {
    this.#report('killed');
    this.#process.signal('SIGKILL');
    await this.#process.ended;
  }

  /** Ends the process, and returns the violations of its end. */
  async end(): Promise<Violation[]> {
    if (this.#isFrozen) this.wake();
    if (this.#process.isRunning) await this.#process.reached('ready');
    this.#process.signal('SIGTERM');
    const timer = new AbortController();
    const ending = await Promise.race([this.#process.ended, sleep(20_000, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort();
    if (ending === undefined) return [{ rule: 'error', message: `${this.id} did not end within 20 s of SIGTERM` }];
    return judgeEnding(this.id, ending, this.#wasKilled);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }

  #report(step: 'frozen' | 'woken' | 'killed'): void {
    if (step === 'killed') this.#wasKilled = true;
    else this.#isFrozen = step === 'frozen';
    this.#onEvent({ step, at: now(), client: this.id });
  }
}

/** Returns the hosts of all members, starting with `first`. */
export const hostsFrom = (cluster: EtcdCluster, first: EtcdMember): string[] =>
  [first, ...cluster.members.filter((member) => member !== first)].map(({ endpoint }) => endpoint);

/** Starts dead members, wakes frozen members, and connects all of them again. */
export async function restoreCluster(cluster: EtcdCluster): Promise<void> {
  cluster.rejoin();
  for (const member of cluster.members) if (member.pid !== undefined && !member.isAwake) member.thaw();
  await Promise.all(cluster.members.filter(({ pid }) => pid === undefined).map((member) => member.start()));
}
