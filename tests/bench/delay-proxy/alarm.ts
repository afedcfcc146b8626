/**
 * A timer for the delay proxy that is precise to some ten microseconds. The timers of Node are precise to a millisecond.
 *
 * A thread sleeps until shortly before the time that is set, and wakes the event loop. The loop polls for the rest. So it needs almost no
 * processor time, which etcd and the clients need, and it never blocks the event loop, which reads the time of each arrival.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** The time by the clock that all threads share. */
export const nowNs = (): bigint => process.hrtime.bigint();

/** The kernel and the event loop wake a little late. The alarm wakes earlier by this time, and polls. */
const leadNs = 150_000n;
const none = 0n;

interface Shared {
  /** Changes with each set(), so that the thread reads the new time. */
  readonly count: Int32Array<SharedArrayBuffer>;
  readonly dueNs: BigInt64Array<SharedArrayBuffer>;
}

export class Alarm {
  readonly #shared: Shared = { count: new Int32Array(new SharedArrayBuffer(4)), dueNs: new BigInt64Array(new SharedArrayBuffer(8)) };
  readonly #onDue: () => void;
  #dueNs = none;
  #isPolling = false;

  constructor(onDue: () => void) {
    this.#onDue = onDue;
    const thread = new Worker(new URL(import.meta.url), { workerData: this.#shared });
    thread.on('message', () => {
      this.#poll();
    });
  }

  /** Calls `onDue` at this time, once. A second call replaces the first. */
  set(dueNs: bigint): void {
    this.#dueNs = dueNs;
    if (dueNs - nowNs() <= leadNs) {
      this.#poll();
      return;
    }
    Atomics.store(this.#shared.dueNs, 0, dueNs);
    Atomics.add(this.#shared.count, 0, 1);
    Atomics.notify(this.#shared.count, 0);
  }

  #poll(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    const turn = (): void => {
      if (this.#dueNs !== none && this.#dueNs - nowNs() <= leadNs && this.#dueNs > nowNs()) {
        setImmediate(turn); // the event loop reads arrivals in between
        return;
      }
      this.#isPolling = false;
      // A later time was set in the meantime, and the thread waits for it.
      if (this.#dueNs === none || this.#dueNs > nowNs()) return;
      this.#dueNs = none;
      this.#onDue();
    };
    turn();
  }
}

/** The thread: sleeps until the time that is set, and posts a message. */
function sleepAndWake({ count, dueNs }: Shared): never {
  for (;;) {
    const seen = Atomics.load(count, 0);
    const due = Atomics.load(dueNs, 0);
    const leftNs = due - leadNs - nowNs();
    if (due === none) Atomics.wait(count, 0, seen);
    else if (leftNs > 0n) Atomics.wait(count, 0, seen, Number(leftNs) / 1e6);
    else {
      // Unless another time was set since, there is nothing to wait for.
      Atomics.compareExchange(dueNs, 0, due, none);
      parentPort?.postMessage(null);
    }
  }
}

if (!isMainThread) sleepAndWake(workerData as Shared);
