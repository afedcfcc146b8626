/**
 * A virtual world: one etcd, several processes that lock through bad networks, weather, outsiders, and a judge.
 *
 * Faults come until `chaosMs`; what they left on the way arrives by `latestMs`; from `settledMs` on everything must run as if
 * there had never been any. Then the callers stop, everybody closes, and nothing may be left.
 */
import { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import { Faults } from './faults.ts';
import { History } from './history.ts';
import { Judge } from './judge.ts';
import { checkLeftovers, checkQuiet } from './leftovers.ts';
import { LockerProcess } from './locker-process.ts';
import { Outsiders } from './outsiders.ts';
import { Prng } from './prng.ts';
import { Record } from './record.ts';
import type { Scenario } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { Weather } from './fault-schedule.ts';

/** How long what a fault left on its way may take to arrive. */
const aftermathMs = 4_000;
const checkedMs = 3_000;
/** Within this all who wait have been served, once faults are over. */
const patienceMs = 60_000;

export class World {
  readonly scenario: Scenario;
  readonly scheduler = new Scheduler();
  readonly history: History;
  readonly etcd: MemoryEtcd;
  readonly record: Record;
  readonly faults: Faults;
  readonly judge: Judge;
  readonly weather: Weather;
  readonly prng: Prng;
  /** All that there ever were. */
  readonly everyProcess: LockerProcess[] = [];
  readonly latestMs: number;
  readonly settledMs: number;
  #phase: 'calls' | 'draining' | 'quiet' | 'closing' | 'over' = 'calls';
  #drainingSinceMs = 0;

  constructor(scenario: Scenario, isTold: boolean) {
    this.scenario = scenario;
    const { scheduler } = this;
    const now = (): number => scheduler.nowMs;
    this.history = new History(isTold, now);
    this.etcd = new MemoryEtcd({
      now: () => ({ monotonicMs: scheduler.nowMs, wallMs: scheduler.nowMs }),
      setTimer: (delayMs, callback) => scheduler.after(delayMs, callback),
      hold: () => () => undefined,
    });
    this.record = new Record(this.etcd, scenario.names, now);
    this.faults = new Faults(scenario.kinds);
    this.prng = new Prng(scenario.seed).fork('world');
    this.weather = new Weather(this, this.prng.fork('weather'));
    this.judge = new Judge(this);
    this.latestMs = scenario.chaosMs + aftermathMs;
    this.settledMs = this.latestMs + Math.max(...scenario.ttlsMs) + 2 * scenario.requestTimeoutMs + 1_000;
  }

  /** The processes of today. */
  get processes(): LockerProcess[] {
    return this.everyProcess.filter((process) => !process.isOver);
  }

  get takesCalls(): boolean {
    return this.#phase === 'calls';
  }

  /** Whether all that faults left on its way has arrived. */
  get isPast(): boolean {
    return this.scheduler.nowMs >= this.latestMs;
  }

  /** Whether everything has to run as if nothing had ever gone wrong. */
  get isSettled(): boolean {
    return this.scheduler.nowMs >= this.settledMs;
  }

  async run(): Promise<void> {
    const { scenario, scheduler, faults } = this;
    new Outsiders(this, this.prng.fork('outsiders')).start();
    this.weather.start();
    for (let slot = 0; slot < scenario.lockers; slot += 1) this.#startProcess(slot);
    scheduler.after(scenario.chaosMs, () => {
      this.history.tell('weather', () => 'faults are over');
      faults.end();
    });
    scheduler.after(this.settledMs + checkedMs, () => {
      this.#phase = 'draining';
      this.#drainingSinceMs = scheduler.nowMs;
      this.#drain();
    });
    await scheduler.run(() => this.judge.step() || this.#phase === 'over');
  }

  /** A process that ends without a word; another takes its place. */
  crash(process: LockerProcess): void {
    this.history.tell(process.id, () => 'crashes');
    process.crash();
    this.judge.crashed(process);
    this.#replaceLater(process.slot);
  }

  /** It closes its locker, and a new one takes its place. */
  replace(process: LockerProcess): void {
    void process.close();
    this.#replaceLater(process.slot);
  }

  #replaceLater(slot: number): void {
    this.scheduler.after(this.prng.skewed(1, 1_000), () => {
      this.#startProcess(slot);
    });
  }

  #startProcess(slot: number): void {
    const id = `p${String(slot + 1)}${'abcdefghijklmnopqrstuvwxyz'[this.everyProcess.filter((one) => one.slot === slot).length] ?? 'z'}`;
    const process = new LockerProcess(this, slot, id, this.prng.fork(id));
    this.everyProcess.push(process);
    process.start();
  }

  /** Waits until every caller has what it asked for and has given it back. */
  #drain(): void {
    const { scheduler, judge, scenario } = this;
    if (this.everyProcess.some((process) => !process.isQuiet)) {
      if (scheduler.nowMs - this.#drainingSinceMs > patienceMs)
        judge.violated('unserved', `${[...judge.pending].map(({ id, name }) => `${id} on ${name}`).join(', ')} would wait for ever`);
      scheduler.after(20, () => {
        this.#drain();
      });
      return;
    }
    this.#phase = 'quiet';
    scheduler.after(300, () => {
      checkQuiet(this);
      scheduler.after(scenario.endsIdle ? Math.max(...scenario.ttlsMs) * 1.1 + 1_000 : 0, () => {
        if (scenario.endsIdle) checkLeftovers(this);
        this.#close();
      });
    });
  }

  #close(): void {
    this.#phase = 'closing';
    for (const process of this.processes) void process.close();
    this.scheduler.after(500, () => {
      checkLeftovers(this);
      this.judge.checkOver();
      this.#phase = 'over';
    });
  }
}
