/**
 * Schedules the faults of machines, of their network and of the whole cluster: freezes, clock jumps, cuts, dead connections, wrong
 * passwords, outages, a full disk, new leaders, crashes.
 */
import type { MemorySnapshot } from '../../src/store/memory/memory-etcd.ts';
import type { FaultKind } from './faults.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** Whether a connection is refused at once, or accepted and never answered. */
export type Cut = 'refused' | 'hung';

export class FaultSchedule {
  /** The term of the present leader. It rises with each new leader. */
  term = 7;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #cuts = new Map<Machine, Cut>();
  readonly #processes = new Map<Machine, LockerProcess>();
  readonly #refused = new Set<Machine>();
  /** When a password of the machine was wrong for the last time. */
  readonly #refusedUntilMs = new Map<Machine, number>();
  #outage: Cut | undefined;
  #isFull = false;
  #fullUntilMs = -1;
  #restoredAtMs: number | undefined;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  cutOf(machine: Machine): Cut | undefined {
    return this.#outage ?? this.#cuts.get(machine);
  }

  /** When etcd was last restored from a snapshot. */
  get restoredAtMs(): number | undefined {
    return this.#restoredAtMs;
  }

  /** Whether etcd refuses all writes, because its disk is full. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Whether the disk was full at some time since `sinceMs`. */
  wasFullSince(sinceMs: number): boolean {
    return this.#isFull || this.#fullUntilMs >= sinceMs;
  }

  /** Whether etcd refuses the password of the machine now. */
  hasWrongPassword(machine: Machine): boolean {
    return this.#refused.has(machine);
  }

  /** Whether etcd refused the password of the machine at some time since `sinceMs`. */
  hadWrongPasswordSince(machine: Machine, sinceMs: number): boolean {
    return this.#refused.has(machine) || (this.#refusedUntilMs.get(machine) ?? -1) >= sinceMs;
  }

  start(): void {
    const prng = this.#prng.fork('cluster');
    this.#repeat('outage', 8_000, prng, () => {
      this.#world.history.add('cluster', () => 'outage begins');
      this.#outage = prng.pick<Cut>(['refused', 'hung']);
      for (const process of this.#world.processes) process.store.watchStream.break('outage');
      this.#endAfter(this.#duration(prng), () => {
        this.#world.history.add('cluster', () => 'outage ends');
        this.#outage = undefined;
      });
    });
    this.#repeat('noSpace', 3_000, prng, () => {
      this.#world.history.add('cluster', () => 'its disk is full');
      this.#isFull = true;
      this.#endAfter(this.#duration(prng), () => {
        this.#world.history.add('cluster', () => 'its disk has space again');
        this.#isFull = false;
        this.#fullUntilMs = this.#world.scheduler.nowMs;
      });
    });
    this.#scheduleRestores(prng.fork('restore'));
    this.#repeat('leaderChange', 4_000, prng, () => {
      this.#world.history.add('cluster', () => 'new leader');
      this.term += 1;
      // A new leader renews every lease for its whole TTL.
      for (const id of this.#world.etcd.leaseIds) this.#world.etcd.renew(id);
    });
  }

  /** Restores etcd from snapshots that were taken up to some seconds before. Restores follow each other by seconds at least. */
  #scheduleRestores(prng: Prng): void {
    const { etcd, history, scheduler } = this.#world;
    let snapshot: MemorySnapshot | undefined;
    this.#repeat('restore', 5_000, prng, () => {
      snapshot ??= etcd.snapshot();
      history.add('cluster', () => 'takes a snapshot');
      this.#endAfter(prng.between(50, prng.pick([1_000, 5_000, 10_000])), () => {
        if (snapshot === undefined) return;
        const bumpRevision = prng.pick([0n, 0n, 1_000_000n]);
        history.add('cluster', () => `is restored to r${String(snapshot?.revision)}, ${String(bumpRevision)} higher`);
        etcd.restore(snapshot, { bumpRevision });
        snapshot = undefined;
        this.#restoredAtMs = scheduler.nowMs;
        this.#world.judge.forgetTokens();
        for (const process of this.#world.processes) process.store.watchStream.break('etcd is restored');
      });
    });
  }

  /** Schedules the faults of one process, from its start on. */
  startFor(process: LockerProcess): void {
    const prng = this.#prng.fork(process.id);
    const { machine } = process;
    this.#processes.set(machine, process);
    const repeat = (kind: FaultKind, meanMs: number, inject: () => void): void => {
      this.#repeat(kind, meanMs, prng.fork(kind), inject, () => !process.isOver);
    };
    // No clock shows a sleep during which the wall clock is set back, so a machine has only one of these two faults.
    const maySleep = prng.chance(0.5);
    const jump = (ms: number): void => {
      if (!machine.isAwake) return;
      this.#world.history.add(process.id, () => `its wall clock jumps by ${String(Math.round(ms))}`);
      machine.jumpWall(ms);
    };
    repeat('freeze', 6_000, () => {
      this.#freeze(process, prng, false);
    });
    if (maySleep) {
      repeat('sleep', 6_000, () => {
        this.#freeze(process, prng, true);
      });
    } else {
      repeat('wallBack', 5_000, () => {
        jump(-prng.skewed(10, 60_000));
      });
    }
    repeat('wallForward', 8_000, () => {
      jump(prng.skewed(10, 30_000));
    });
    repeat('watchBreak', 2_000, () => {
      process.store.watchStream.break(prng.chance(0.5) ? 'compaction' : 'the member is gone');
    });
    repeat('cut', 5_000, () => {
      this.#cut(process, prng);
    });
    repeat('deadConnection', 5_000, () => {
      process.store.loseConnection(prng.pick(['deaf', 'mute']));
    });
    repeat('neverConnected', 5_000, () => {
      process.store.loseConnection('never made');
    });
    repeat('wrongPassword', 8_000, () => {
      this.#world.history.add(process.id, () => 'its password is wrong');
      this.#refused.add(machine);
      this.#endAfter(this.#duration(prng), () => {
        this.#world.history.add(process.id, () => 'its password is right again');
        this.#refused.delete(machine);
        this.#refusedUntilMs.set(machine, this.#world.scheduler.nowMs);
      });
    });
    repeat('crash', 12_000, () => {
      this.#world.crash(process);
    });
    repeat('close', 10_000, () => {
      if (machine.isAwake) this.#world.replace(process);
    });
  }

  /** Injects a fault of the machine now, while the response to one of its requests is under way. */
  injectWhileAnswering(machine: Machine, prng: Prng, probability: number): void {
    const { faults } = this.#world;
    const process = this.#processes.get(machine);
    if (process === undefined || process.isOver) return;
    if (faults.occurs('freeze', prng, probability)) this.#freeze(process, prng, false);
    if (faults.occurs('cut', prng, probability)) this.#cut(process, prng);
    if (faults.occurs('crash', prng, probability / 4)) this.#world.crash(process);
  }

  #freeze(process: LockerProcess, prng: Prng, wasAsleep: boolean): void {
    const { machine, id } = process;
    const { history, scheduler, faults } = this.#world;
    const losesNetwork = faults.occurs('cut', prng, 0.4);
    if (!machine.isAwake) return;
    history.add(id, () => (wasAsleep ? 'falls asleep' : 'freezes'));
    machine.freeze();
    this.#endAfter(this.#duration(prng), () => {
      if (machine.isDead) return;
      history.add(id, () => 'wakes');
      machine.wake(wasAsleep);
      // After a sleep its timers run up to a second late, because they stopped with the monotonic clock.
      machine.timersLateUntilMs = Math.max(machine.timersLateUntilMs, scheduler.nowMs + (wasAsleep ? 1_000 : 0));
      this.#world.judge.woken(machine);
      // Like a virtual machine that was moved: it gets the messages that had arrived, and then none for a while.
      if (losesNetwork)
        scheduler.after(prng.between(1, 50), () => {
          this.#cut(process, prng, Math.max(...this.#world.scenario.ttlsMs) / 2);
        });
    });
  }

  #cut({ machine, id, store }: LockerProcess, prng: Prng, minMs = 0): void {
    this.#world.history.add(id, () => 'is cut off');
    this.#cuts.set(machine, prng.pick<Cut>(['refused', 'hung']));
    store.watchStream.break('cut off');
    this.#endAfter(minMs + this.#duration(prng), () => {
      this.#cuts.delete(machine);
    });
  }

  /** Injects the fault at random times, every `meanMs` on average, until faults end. */
  #repeat(kind: FaultKind, meanMs: number, prng: Prng, inject: () => void, isActive = () => true): void {
    const { scheduler, faults } = this.#world;
    const next = (): void => {
      scheduler.after(-Math.log(1 - prng.next()) * meanMs, () => {
        if (faults.isOver || !isActive()) return;
        if (faults.occurs(kind, prng, 1)) inject();
        next();
      });
    };
    next();
  }

  /** Draws the duration of a fault: a moment, a large part of a TTL, or more than a TTL. */
  #duration(prng: Prng): number {
    const ttlMs = Math.max(...this.#world.scenario.ttlsMs);
    return prng.between(50, prng.pick([400, 2_000, ttlMs, 1.5 * ttlMs]));
  }

  /** Ends a fault after `ms`, but no later than all faults end. */
  #endAfter(ms: number, end: () => void): void {
    const { scheduler, lastEffectMs } = this.#world;
    scheduler.after(Math.min(ms, lastEffectMs - scheduler.nowMs), end);
  }
}
