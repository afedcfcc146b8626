/**
 * The watch stream of a locker. Events arrive late but in order, breaks lose them, and members lag behind.
 *
 * A compaction is a break like any other, because no watch starts at a past revision.
 */
import type { WatchEvent, WatchListener, WatchRequest } from '../../src/store/store.ts';
import type { Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import type { Change } from './etcd-record.ts';
import type { World } from './world.ts';

interface Watch {
  readonly request: WatchRequest;
  readonly listener: WatchListener;
  stop: () => void;
}

interface Connection {
  /** Whether it loses all messages, without a word. */
  isDead: boolean;
  lagMs: number;
  /** The time of the last delivery. Later messages arrive no earlier. */
  deliveredMs: number;
}

export class WatchStream {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #source: string;
  readonly #watches = new Set<Watch>();
  #connection: Connection | undefined;
  /** A separate stream, so that these draws do not shift the others. */
  readonly #latePrng: Prng;
  /** The keys whose deletion the process has learned, and the last revision of it. */
  readonly #deleted = new Map<string, bigint>();
  #isConnecting = false;

  constructor(world: World, machine: Machine, prng: Prng, source: string) {
    this.#world = world;
    this.#machine = machine;
    this.#prng = prng;
    this.#latePrng = prng.fork('late');
    this.#source = source;
  }

  get size(): number {
    return this.#watches.size;
  }

  /** The revision of the last deletion of the key that a watch of the process has reported. */
  deletedAt(key: string): bigint {
    return this.#deleted.get(key) ?? -1n;
  }

  add(request: WatchRequest, listener: WatchListener): () => void {
    const watch: Watch = { request, listener, stop: () => undefined };
    this.#watches.add(watch);
    if (this.#connection === undefined) this.#connect(this.#prng.between(1, 5));
    else this.#create(this.#connection, watch);
    return () => {
      this.#watches.delete(watch);
      watch.stop();
    };
  }

  /** Loses all events under way, and creates all watches again at another member. */
  break(reason: string): void {
    if (this.#connection === undefined) return;
    this.#world.history.add(this.#source, () => `the watch stream breaks: ${reason}`);
    this.#connection = undefined;
    for (const watch of this.#watches) {
      watch.stop();
      watch.listener.broken?.(0);
    }
    this.#connect(this.#prng.skewed(5, this.#world.faults.isOver ? 20 : 1_500));
  }

  /** Loses all messages from now on, without a break that the process could notice. */
  mute(): void {
    if (this.#connection !== undefined) this.#connection.isDead = true;
  }

  #connect(delayMs: number): void {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    this.#world.scheduler.after(
      delayMs,
      () => {
        this.#isConnecting = false;
        if (this.#watches.size === 0) return;
        if (this.#world.faultSchedule.cutOf(this.#machine) !== undefined) {
          this.#connect(100);
          return;
        }
        const { faults } = this.#world;
        const lagMs = this.#prng.skewed(5, 1_000);
        this.#connection = { isDead: false, lagMs: faults.occurs('watchLag', this.#prng, 0.3) ? lagMs : 0, deliveredMs: 0 };
        for (const watch of this.#watches) this.#create(this.#connection, watch);
      },
      this.#machine,
    );
  }

  #create(connection: Connection, watch: Watch): void {
    const { faults, scenario, lastEffectMs, scheduler: clock } = this.#world;
    const lateMs = Math.min(this.#latePrng.skewed(50, 9_000), lastEffectMs - clock.nowMs);
    const isLate = faults.occurs('lateWatch', this.#latePrng, scenario.intensity);
    this.#world.scheduler.after(this.#prng.between(0.3, 4) + (isLate ? lateMs : 0), () => {
      if (this.#connection !== connection || !this.#watches.has(watch)) return;
      const { record, scheduler } = this.#world;
      const missed = record.changesSince(scheduler.nowMs - connection.lagMs);
      const revision = (missed[0]?.revision ?? record.revision + 1n) - 1n;
      this.#deliver(connection, watch, 0, () => {
        this.#world.history.add(this.#source, () => `watch of ${watch.request.key} is created from r${String(revision)}`);
        watch.listener.created(revision);
      });
      for (const change of missed) this.#forward(connection, watch, change);
      watch.stop = record.onChange((change) => {
        this.#forward(connection, watch, change);
      });
    });
  }

  #forward(connection: Connection, watch: Watch, { atMs, revision, events }: Change): void {
    const matching = events.filter((event) => matches(watch.request, event));
    if (matching.length === 0) return;
    const { faults, scenario, scheduler } = this.#world;
    // Servers have lost deletion events. Only a waiter that also looks from time to time recovers.
    if (watch.request.deletesOnly === true && faults.occurs('lostEvent', this.#prng, scenario.intensity)) return;
    const lagMs = faults.isOver ? 0 : Math.max(0, atMs + connection.lagMs - scheduler.nowMs);
    this.#deliver(connection, watch, lagMs, () => {
      this.#world.history.add(this.#source, () => `gets the event of r${String(revision)} on ${watch.request.key}`);
      for (const { type, kv } of matching) if (type === 'delete') this.#deleted.set(kv.key, revision);
      watch.listener.events(matching);
    });
  }

  #deliver(connection: Connection, watch: Watch, delayMs: number, notify: () => void): void {
    const { faults, scenario, scheduler } = this.#world;
    const usualMs = this.#prng.between(0.3, 4);
    const moreMs = this.#prng.skewed(10, 1_500);
    const isSlow = faults.occurs('delay', this.#prng, scenario.intensity);
    const atMs = Math.max(connection.deliveredMs, scheduler.nowMs + delayMs + usualMs + (isSlow ? moreMs : 0));
    connection.deliveredMs = atMs;
    scheduler.at(
      atMs,
      () => {
        if (this.#connection === connection && !connection.isDead && this.#watches.has(watch)) notify();
      },
      this.#machine,
    );
  }
}

const matches = ({ key, rangeEnd, deletesOnly }: WatchRequest, { type, kv }: WatchEvent): boolean =>
  (rangeEnd === undefined ? kv.key === key : kv.key >= key && kv.key < rangeEnd) && (type === 'delete' || deletesOnly !== true);
