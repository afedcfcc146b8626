/** A watcher: reads the states of a random name at a random speed, stops, and starts again with another name. */
import type { LockState } from '../../src/states/state.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Prng } from './prng.ts';
import { CountedSignal } from './signals.ts';
import type { World } from './world.ts';

export class Watcher {
  readonly #world: World;
  readonly #process: LockerProcess;
  readonly #prng: Prng;
  #name: string;
  #isWaiting = false;
  #isDone = false;
  #last: LockState | undefined;

  constructor(world: World, process: LockerProcess, prng: Prng) {
    this.#world = world;
    this.#process = process;
    this.#prng = prng;
    this.#name = prng.pick(world.scenario.names);
  }

  /** The last state that it got, while it waits for the next one. Undefined while it is busy. */
  get idleState(): { readonly name: string; readonly state: LockState } | undefined {
    return this.#isWaiting && this.#last !== undefined ? { name: this.#name, state: this.#last } : undefined;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  start(): void {
    void this.#run();
  }

  async #run(): Promise<void> {
    while (this.#process.isOpen) await this.#watch();
    this.#isDone = true;
  }

  async #watch(): Promise<void> {
    const { machine, locker, id } = this.#process;
    const { judge, scenario, faults } = this.#world;
    this.#name = this.#prng.pick(scenario.names);
    this.#last = undefined;
    const signal = new CountedSignal();
    const stopsAfter = this.#prng.chance(0.3) && !faults.isOver ? this.#prng.integer(1, 6) : Infinity;
    const stopsByAbort = this.#prng.chance(0.5);
    let count = 0;
    try {
      this.#isWaiting = true;
      for await (const state of locker.watch(this.#name, { signal: signal.signal })) {
        this.#isWaiting = false;
        judge.state(id, this.#name, state, this.#last);
        this.#last = state;
        if (this.#prng.chance(0.2)) await machine.sleep(this.#prng.skewed(1, faults.isOver ? 50 : 3_000));
        count += 1;
        if (count >= stopsAfter) {
          if (!stopsByAbort) break;
          signal.abort();
        }
        this.#isWaiting = true;
      }
    } catch (error) {
      judge.watchFailed(this.#process, error, this.#last);
    }
    this.#isWaiting = false;
    if (signal.listeners > 0) judge.violated('listeners', `${id} left a listener on the signal of a watch`);
    await machine.sleep(this.#prng.between(1, 200));
  }
}
