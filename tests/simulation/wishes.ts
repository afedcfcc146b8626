/**
 * The rule `wanted`: `lock.wanted` aborts when another caller waits behind the lock. It aborts for no other reason, and never after the
 * release or the loss.
 */
import type { HeldLock } from './calls.ts';
import type { World } from './world.ts';

/** The time for a watch, a look and an event, without faults. */
const promptMs = 60;

interface Wish {
  readonly held: HeldLock;
  readonly signal: AbortSignal;
  readonly sinceMs: number;
}

export class Wishes {
  readonly #world: World;
  readonly #wishes = new Map<HeldLock, Wish>();

  constructor(world: World) {
    this.#world = world;
  }

  /** A caller reads `lock.wanted`. */
  read(held: HeldLock): void {
    const signal = held.lock.wanted;
    const known = this.#wishes.get(held);
    if (known !== undefined) {
      if (known.signal !== signal) this.#violated(held, 'returned another signal at its second read');
      return;
    }
    this.#wishes.set(held, { held, signal, sinceMs: this.#world.scheduler.nowMs });
    if (signal.aborted) this.#aborted(held);
    else
      signal.addEventListener('abort', () => {
        this.#aborted(held);
      });
  }

  /** The lock is released or lost. */
  ended(held: HeldLock): void {
    this.#wishes.delete(held);
  }

  /** Without faults, the signal soon aborts once another caller waits. */
  check(): void {
    const { scheduler, settledMs, record, judge } = this.#world;
    for (const { held, signal, sinceMs } of this.#wishes.values()) {
      if (signal.aborted || !held.isLive) continue;
      const { call, key, token } = held;
      const holders = record.holders(call.name);
      const waiter = record
        .entries(call.name)
        .find((entry) => entry.createRevision > token && entry.key !== key && !holders.some((holder) => holder.key === entry.key));
      this.#checkLocal(held, signal, sinceMs);
      if (waiter === undefined) continue;
      const fromMs = Math.max(settledMs, sinceMs, record.stateAt(call.name, waiter.createRevision).atMs);
      if (scheduler.nowMs - fromMs > promptMs)
        judge.violated('wanted', `${String(held)} has ${waiter.key} behind it for ${String(promptMs)} ms, but \`wanted\` has not aborted`);
    }
  }

  /** A caller of the same process counts as well, also without an entry in etcd. */
  #checkLocal(held: HeldLock, signal: AbortSignal, sinceMs: number): void {
    const { scheduler, settledMs, judge } = this.#world;
    for (const { id, process, name, slots, usesLocalQueue, startedMs } of judge.pending) {
      if (process !== held.call.process || name !== held.call.name || !usesLocalQueue) continue;
      const excludes = held.call.slots === 1 || slots !== held.call.slots;
      if (!signal.aborted && excludes && scheduler.nowMs - Math.max(settledMs, sinceMs, startedMs) > promptMs)
        this.#violated(held, `has not aborted, although ${id} has waited for ${String(promptMs)} ms`);
    }
  }

  #aborted(held: HeldLock): void {
    const { record, judge, history } = this.#world;
    const { call, key, token } = held;
    history.add(call.process.id, () => `${String(held)} is WANTED`);
    judge.figures.wanted += 1;
    if (!held.isLive) this.#violated(held, 'aborted after the end of the lock');
    const wasBehind = record.hasEntriesSince(call.name, held.tenureSinceMs, (entry) => entry.createRevision >= token && entry.key !== key);
    const isLocal = [...judge.pending].some((one) => one.process === call.process && one.name === call.name);
    if (!wasBehind && !isLocal) this.#violated(held, 'aborted, but nobody was behind the lock');
  }

  #violated(held: HeldLock, problem: string): void {
    this.#world.judge.violated('wanted', `${String(held)}: \`wanted\` ${problem}`);
  }
}
