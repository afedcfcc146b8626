/** One process: the clocks of its machine, a store behind a faulty network, a locker on that store, and its callers. */
import type { Locker } from '../../src/locker/locker.ts';
import { createLocker } from '../../src/locker/create-locker.ts';
import { Caller } from './caller.ts';
import { CountingClock, Machine } from './machine.ts';
import { SimulatedStore } from './network.ts';
import type { Prng } from './prng.ts';
import { Watcher } from './watcher.ts';
import type { World } from './world.ts';

export class LockerProcess {
  readonly id: string;
  readonly slot: number;
  readonly machine: Machine;
  readonly clock: CountingClock;
  readonly store: SimulatedStore;
  /** For how long its locker keeps entries. */
  readonly keepMs: number;
  readonly locker: Locker;
  readonly #world: World;
  readonly #callers: readonly Caller[];
  readonly #watcher: Watcher | undefined;
  readonly #prng: Prng;
  #drainedAtMs = 0;
  #state: 'open' | 'closing' | 'closed' | 'crashed' = 'open';

  constructor(world: World, slot: number, id: string, prng: Prng) {
    this.#world = world;
    this.slot = slot;
    this.id = id;
    const { scenario, scheduler } = world;
    this.machine = new Machine(scheduler, prng.fork('machine'), scenario.drift);
    this.clock = new CountingClock(this.machine, () => {
      world.judge.violated('spin', `${id} loops without waiting for anything`);
    });
    this.store = new SimulatedStore(world, this.machine, this.clock, prng.fork('network'), id);
    this.keepMs = prng.fork('keep').chance(scenario.keep.lockerShare) ? scenario.keep.ms : 0;
    this.locker = createLocker({
      store: this.store,
      ttlMs: scenario.ttlsMs[0],
      requestTimeoutMs: scenario.requestTimeoutMs,
      value: id,
      ...(this.keepMs === 0 ? {} : { keepMs: this.keepMs }),
    });
    this.#callers = Array.from(
      { length: scenario.callers },
      (_, at) => new Caller(world, this, `${id}.${String(at + 1)}`, prng.fork(`caller ${String(at)}`)),
    );
    this.#prng = prng.fork('drain');
    this.#watcher = prng.chance(0.4) ? new Watcher(world, this, prng.fork('watcher')) : undefined;
  }

  /** Whether its callers still make calls. */
  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get isCrashed(): boolean {
    return this.#state === 'crashed';
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Whether it is closing, closed or crashed: it has no more faults of its own. */
  get isOver(): boolean {
    return this.#state !== 'open';
  }

  /** Whether all its callers have ended. */
  get isQuiet(): boolean {
    return this.isCrashed || this.#callers.every((caller) => caller.isDone);
  }

  get watcher(): Watcher | undefined {
    return this.#watcher;
  }

  start(): void {
    for (const caller of this.#callers) caller.start();
    this.#watcher?.start();
    this.#world.faultSchedule.startFor(this);
  }

  crash(): void {
    this.#state = 'crashed';
    this.machine.die();
  }

  /** Whether held locks may still be released by their holders, and by nobody else. */
  get isDraining(): boolean {
    // A timer may run a rounding error early.
    return this.#state === 'closing' && this.machine.now().monotonicMs < this.#drainedAtMs - 1e-6;
  }

  /** Closes the locker, after a drain of random length. */
  async drain(): Promise<void> {
    await this.close(this.#prng.chance(0.5) ? Math.round(this.#prng.skewed(10, 4_000)) : 0);
  }

  async close(drainMs = 0): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#drainedAtMs = this.machine.now().monotonicMs + drainMs;
    this.#world.history.add(this.id, () => `closes, and drains for ${String(drainMs)} ms`);
    const startedMs = this.machine.awakeMs;
    const closed = this.locker.close({ drainMs });
    this.#world.scheduler.after(1, () => {
      this.#world.judge.closing(this);
    });
    await closed;
    this.#state = 'closed';
    this.#world.judge.closed(this, this.machine.awakeMs - startedMs, drainMs);
  }
}
