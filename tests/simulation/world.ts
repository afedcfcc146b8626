/**
 * The virtual world of one run: an etcd, processes that lock through faulty networks, scheduled faults, outsiders, and the judge.
 *
 * Faults occur until `chaosMs`. Their late effects end by `lastEffectMs`. From `settledMs` on the judge applies stricter rules,
 * because nothing goes wrong any longer. Then the callers end, all lockers close, and nothing may be left.
 */
import { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import { Faults } from './faults.ts';
import { History } from './history.ts';
import { Judge } from './judge.ts';
import { checkLeftovers, checkQuiet } from './leftovers.ts';
import { LockerProcess } from './locker-process.ts';
import { Outsiders } from './outsiders.ts';
import { Prng } from './prng.ts';
import { EtcdRecord } from './etcd-record.ts';
import type { Scenario } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { FaultSchedule } from './fault-schedule.ts';

/** The time after the last fault within which late requests arrive. */
const lateEffectsMs = 4_000;
const strictPhaseMs = 3_000;
/** The time within which every waiter is served at the end. */
const drainLimitMs = 60_000;

export class World {
  readonly scenario: Scenario;
  readonly scheduler = new Scheduler();
  readonly history: History;
  readonly etcd: MemoryEtcd;
  readonly record: EtcdRecord;
  readonly faults: Faults;
  readonly judge: Judge;
  readonly faultSchedule: FaultSchedule;
  readonly prng: Prng;
  /** All processes of the run, also those that have ended. */
  readonly allProcesses: LockerProcess[] = [];
  readonly lastEffectMs: number;
  readonly settledMs: number;
  #phase: 'calls' | 'draining' | 'quiet' | 'closing' | 'over' = 'calls';
  #drainingSinceMs = 0;

  constructor(scenario: Scenario, withHistory: boolean) {
    this.scenario = scenario;
    const { scheduler } = this;
    const now = (): number => scheduler.nowMs;
    this.history = new History(withHistory, now);
    this.etcd = new MemoryEtcd({
      now: () => ({ monotonicMs: scheduler.nowMs, wallMs: scheduler.nowMs }),
      setTimer: (delayMs, callback) => scheduler.after(delayMs, callback),
      hold: () => () => undefined,
    });
    this.record = new EtcdRecord(this.etcd, scenario.names, now);
    this.faults = new Faults(scenario.kinds);
    this.prng = new Prng(scenario.seed).fork('world');
    this.faultSchedule = new FaultSchedule(this, this.prng.fork('weather'));
    this.judge = new Judge(this);
    this.lastEffectMs = scenario.chaosMs + lateEffectsMs;
    this.settledMs = this.lastEffectMs + Math.max(...scenario.ttlsMs) + 2 * scenario.requestTimeoutMs + 1_000;
  }

  /** The processes that run now. */
  get processes(): LockerProcess[] {
    return this.allProcesses.filter((process) => !process.isOver);
  }

  get acceptsCalls(): boolean {
    return this.#phase === 'calls';
  }

  /** Whether the late effects of all faults have ended. */
  get haveEffectsEnded(): boolean {
    return this.scheduler.nowMs >= this.lastEffectMs;
  }

  /** Whether the past of a restored etcd may still contradict its present: in requests, in responses, in states of processes. */
  get isBlurred(): boolean {
    return this.wasBlurredAt(this.scheduler.nowMs);
  }

  /** Whether what a process learned at that time may come from before a restore. */
  wasBlurredAt(atMs: number): boolean {
    const { restoredAtMs } = this.faultSchedule;
    if (restoredAtMs === undefined) return false;
    const { ttlsMs, requestTimeoutMs } = this.scenario;
    return atMs < restoredAtMs + 1.5 * Math.max(...ttlsMs) + 2 * requestTimeoutMs + 1_000;
  }

  /** Whether the stricter rules apply, because nothing goes wrong any longer. */
  get isSettled(): boolean {
    return this.scheduler.nowMs >= this.settledMs;
  }

  async run(): Promise<void> {
    const { scenario, scheduler, faults } = this;
    new Outsiders(this, this.prng.fork('outsiders')).start();
    this.faultSchedule.start();
    for (let slot = 0; slot < scenario.lockers; slot += 1) this.#startProcess(slot);
    scheduler.after(scenario.chaosMs, () => {
      this.history.add('cluster', () => 'faults end');
      faults.end();
    });
    scheduler.after(this.settledMs + strictPhaseMs, () => {
      this.#phase = 'draining';
      this.#drainingSinceMs = scheduler.nowMs;
      this.#drain();
    });
    await scheduler.run(() => this.judge.step() || this.#phase === 'over');
  }

  /** Kills a process. A new process replaces it later. */
  crash(process: LockerProcess): void {
    this.history.add(process.id, () => 'crashes');
    process.crash();
    this.judge.crashed(process);
    this.#replaceLater(process.slot);
  }

  /** Closes the locker of a process. A new process replaces it later. */
  replace(process: LockerProcess): void {
    void process.drain();
    this.#replaceLater(process.slot);
  }

  #replaceLater(slot: number): void {
    this.scheduler.after(this.prng.skewed(1, 1_000), () => {
      this.#startProcess(slot);
    });
  }

  #startProcess(slot: number): void {
    const id = `p${String(slot + 1)}${'abcdefghijklmnopqrstuvwxyz'[this.allProcesses.filter((one) => one.slot === slot).length] ?? 'z'}`;
    const process = new LockerProcess(this, slot, id, this.prng.fork(id));
    this.allProcesses.push(process);
    process.start();
  }

  /** When minimum holds are over, and kept entries that the run waits for. The other runs close lockers that keep entries. */
  #keepsUntilMs(): number {
    const { judge, scenario } = this;
    const isKeptAwaited = scenario.waitsForKept || scenario.waitsUntilIdle;
    return Math.max(judge.minimumHolds.endsAtMs, isKeptAwaited ? judge.kept.endsAtMs : 0);
  }

  /** Waits until every caller has acquired and released its lock, and every minimum hold is over. */
  #drain(): void {
    const { scheduler, judge, scenario } = this;
    if (this.allProcesses.some((process) => !process.isQuiet) || scheduler.nowMs < this.#keepsUntilMs()) {
      if (scheduler.nowMs - this.#drainingSinceMs > drainLimitMs)
        judge.violated(
          'unserved',
          `${[...judge.pending].map(({ id, name }) => `${id} on ${name}`).join(', ')} did not end within ${String(drainLimitMs)} ms`,
        );
      scheduler.after(20, () => {
        this.#drain();
      });
      return;
    }
    this.#phase = 'quiet';
    scheduler.after(300, () => {
      checkQuiet(this);
      scheduler.after(scenario.waitsUntilIdle ? Math.max(...scenario.ttlsMs, scenario.keep.ms) * 1.1 + 1_000 : 0, () => {
        if (scenario.waitsUntilIdle) checkLeftovers(this);
        this.#close();
      });
    });
  }

  #close(): void {
    this.#phase = 'closing';
    for (const process of this.processes) void process.close();
    this.scheduler.after(500, () => {
      checkLeftovers(this);
      this.judge.checkFinal();
      this.#phase = 'over';
    });
  }
}
