/** What befalls machines, the network and the cluster as a whole: freezes, sleeps, jumps, cuts, outages, new leaders, crashes. */
import type { FaultKind } from './faults.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** Whether a connection is refused at once, or just never answered. */
export type Cut = 'refused' | 'hung';

export class Weather {
  /** Rises with each new leader. */
  term = 7;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #cuts = new Map<Machine, Cut>();
  readonly #processes = new Map<Machine, LockerProcess>();
  #outage: Cut | undefined;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  cutOf(machine: Machine): Cut | undefined {
    return this.#outage ?? this.#cuts.get(machine);
  }

  start(): void {
    const prng = this.#prng.fork('cluster');
    this.#often('outage', 8_000, prng, () => {
      this.#world.history.tell('weather', () => 'outage');
      this.#outage = prng.pick<Cut>(['refused', 'hung']);
      for (const process of this.#world.processes) process.store.watches.break('outage');
      this.#later(this.#spell(prng), () => {
        this.#world.history.tell('weather', () => 'the outage is over');
        this.#outage = undefined;
      });
    });
    this.#often('leaderChange', 4_000, prng, () => {
      this.#world.history.tell('weather', () => 'new leader');
      this.term += 1;
      // A new leader gives every lease its whole TTL again.
      for (const id of this.#world.etcd.leaseIds) this.#world.etcd.renew(id);
    });
  }

  /** What befalls one process, from its start on. */
  befall(process: LockerProcess): void {
    const prng = this.#prng.fork(process.id);
    const { machine } = process;
    this.#processes.set(machine, process);
    const often = (kind: FaultKind, meanMs: number, act: () => void): void => {
      this.#often(kind, meanMs, prng.fork(kind), act, () => !process.isOver);
    };
    // A machine that slept while its clock was set back cannot know of it: one of the two only.
    const maySleep = prng.chance(0.5);
    const jump = (ms: number): void => {
      if (!machine.isAwake) return;
      this.#world.history.tell(process.id, () => `its wall clock jumps by ${String(Math.round(ms))}`);
      machine.jumpWall(ms);
    };
    often('freeze', 6_000, () => {
      this.#freeze(process, prng, false);
    });
    if (maySleep) {
      often('sleep', 6_000, () => {
        this.#freeze(process, prng, true);
      });
    } else {
      often('wallBack', 5_000, () => {
        jump(-prng.skewed(10, 60_000));
      });
    }
    often('wallForward', 8_000, () => {
      jump(prng.skewed(10, 30_000));
    });
    often('watchBreak', 2_000, () => {
      process.store.watches.break(prng.chance(0.5) ? 'compaction' : 'the member is gone');
    });
    often('cut', 5_000, () => {
      this.#cut(process, prng);
    });
    often('crash', 12_000, () => {
      this.#world.crash(process);
    });
    often('close', 10_000, () => {
      if (machine.isAwake) this.#world.replace(process);
    });
  }

  /** Just now, when etcd has applied a request of it and the answer is not there yet. */
  strike(machine: Machine, prng: Prng, probability: number): void {
    const { faults } = this.#world;
    const process = this.#processes.get(machine);
    if (process === undefined || process.isOver) return;
    if (faults.strikes('freeze', prng, probability)) this.#freeze(process, prng, false);
    if (faults.strikes('cut', prng, probability)) this.#cut(process, prng);
    if (faults.strikes('crash', prng, probability / 4)) this.#world.crash(process);
  }

  #freeze(process: LockerProcess, prng: Prng, wasAsleep: boolean): void {
    const { machine, id } = process;
    const { history, scheduler, faults } = this.#world;
    const losesNetwork = faults.strikes('cut', prng, 0.4);
    if (!machine.isAwake) return;
    history.tell(id, () => (wasAsleep ? 'falls asleep' : 'freezes'));
    machine.freeze();
    this.#later(this.#spell(prng), () => {
      if (machine.isDead) return;
      history.tell(id, () => 'wakes');
      machine.wake(wasAsleep);
      // What its timers were to tell comes up to a tick later, as they stood still with it.
      machine.settledAtMs = Math.max(machine.settledAtMs, scheduler.nowMs + (wasAsleep ? 1_000 : 0));
      this.#world.judge.woken(machine);
      // As where a virtual machine was moved: it gets what had arrived, and then nothing for a while.
      if (losesNetwork)
        scheduler.after(prng.between(1, 50), () => {
          this.#cut(process, prng, Math.max(...this.#world.scenario.ttlsMs) / 2);
        });
    });
  }

  #cut({ machine, id, store }: LockerProcess, prng: Prng, atLeastMs = 0): void {
    this.#world.history.tell(id, () => 'is cut off');
    this.#cuts.set(machine, prng.pick<Cut>(['refused', 'hung']));
    store.watches.break('cut off');
    this.#later(atLeastMs + this.#spell(prng), () => {
      this.#cuts.delete(machine);
    });
  }

  /** Now and then, as often as `meanMs` says, while faults last. */
  #often(kind: FaultKind, meanMs: number, prng: Prng, act: () => void, goesOn = () => true): void {
    const { scheduler, faults } = this.#world;
    const next = (): void => {
      scheduler.after(-Math.log(1 - prng.next()) * meanMs, () => {
        if (faults.isOver || !goesOn()) return;
        if (faults.strikes(kind, prng, 1)) act();
        next();
      });
    };
    next();
  }

  /** How long something lasts: a moment, a good part of a lease, or more than one. */
  #spell(prng: Prng): number {
    const ttlMs = Math.max(...this.#world.scenario.ttlsMs);
    return prng.between(50, prng.pick([400, 2_000, ttlMs, 1.5 * ttlMs]));
  }

  /** In `ms`, but never later than when all faults are over. */
  #later(ms: number, act: () => void): void {
    const { scheduler, latestMs } = this.#world;
    scheduler.after(Math.min(ms, latestMs - scheduler.nowMs), act);
  }
}
