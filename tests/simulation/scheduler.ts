/**
 * Virtual time. Events run in the order of their times, and all promises that an event settles run before the next event.
 *
 * An event may belong to a machine. Its events wait while the machine is frozen, and never run once the machine is dead.
 */
export interface Owner {
  readonly isFrozen: boolean;
  readonly isDead: boolean;
  /** Keeps an event that falls due while the machine is frozen. */
  postpone(event: ScheduledEvent): void;
}

export interface ScheduledEvent {
  atMs: number;
  order: number;
  isCancelled: boolean;
  readonly run: () => void;
  readonly owner: Owner | undefined;
}

/** The steps in one tick of the event loop. Microtasks still run after each step. */
const stepsPerTick = 64;

export class Scheduler {
  #nowMs = 0;
  #steps = 0;
  #orders = 0;
  readonly #heap: ScheduledEvent[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  get steps(): number {
    return this.#steps;
  }

  after(delayMs: number, run: () => void, owner?: Owner): () => void {
    return this.at(this.#nowMs + delayMs, run, owner);
  }

  at(atMs: number, run: () => void, owner?: Owner): () => void {
    const event = { atMs: Math.max(this.#nowMs, atMs), order: ++this.#orders, isCancelled: false, run, owner };
    this.#push(event);
    return () => {
      event.isCancelled = true;
    };
  }

  /** Schedules postponed events again. They are due at once, in the given order. */
  resume(events: readonly ScheduledEvent[]): void {
    for (const event of events) {
      event.atMs = this.#nowMs;
      event.order = ++this.#orders;
      this.#push(event);
    }
  }

  /** Runs events until `afterStep` returns true or no event is left. */
  run(afterStep: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const step = (): void => {
        if (isOver) return;
        try {
          // Each step is an immediate of its own, so the microtasks of the step before have all run.
          isOver = afterStep() || !this.#next();
        } catch (error) {
          isOver = true;
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        if (isOver) resolve();
        else setImmediate(step);
      };
      for (let count = 0; count < stepsPerTick; count += 1) setImmediate(step);
    });
  }

  #next(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      if (event.isCancelled || event.owner?.isDead === true) continue;
      if (event.owner?.isFrozen === true) {
        event.owner.postpone(event);
        continue;
      }
      this.#nowMs = event.atMs;
      this.#steps += 1;
      event.run();
      return true;
    }
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || isBefore(parent, event)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #pop(): ScheduledEvent | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: ScheduledEvent, b: ScheduledEvent): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
