/**
 * The watch stream of a locker. Events of a watch arrive late but in order, breaks lose them, and members lag behind. Of two watches
 * either may be ahead. Watches for the deletion of one key stay open for the next caller, as those of the real adapter do.
 *
 * A compaction is a break like any other, because no watch starts at a past revision.
 */
import { nameOf } from '../../src/keys.ts';
import type { WatchEvent, WatchListener, WatchRequest } from '../../src/store/store.ts';
import { type Evidence, isOwn } from './evidence.ts';
import type { Machine } from './machine.ts';
import { rob } from './outsiders.ts';
import type { Prng } from './prng.ts';
import type { Change } from './etcd-record.ts';
import type { World } from './world.ts';

interface Watch {
  request: WatchRequest;
  /** Undefined while it is open for the next caller. */
  listener: WatchListener | undefined;
  stop: () => void;
  /** The time of the last delivery. Later messages arrive no earlier. */
  deliveredMs: number;
  createdAt: bigint | undefined;
  newest: WatchEvent | undefined;
  /** Whether the present listener has taken it over, and is not called yet. */
  isResuming: boolean;
}

/** Fewer than in the real adapter, so that some are closed for others. */
const maxIdle = 4;

interface Connection {
  /** Whether it loses all messages, without a word. */
  isDead: boolean;
  lagMs: number;
}

export class WatchStream {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #source: string;
  readonly #watches = new Set<Watch>();
  readonly #idle = new Map<string, Watch>();
  readonly #evidence: Evidence;
  #connection: Connection | undefined;
  /** A separate stream, so that these draws do not shift the others. */
  readonly #latePrng: Prng;
  #isConnecting = false;

  constructor(world: World, machine: Machine, prng: Prng, source: string, evidence: Evidence) {
    this.#evidence = evidence;
    this.#world = world;
    this.#machine = machine;
    this.#prng = prng;
    this.#latePrng = prng.fork('late');
    this.#source = source;
  }

  get size(): number {
    return this.#watches.size;
  }

  add(request: WatchRequest, listener: WatchListener): () => void {
    const watch = this.#resume(request, listener) ?? this.#start(request, listener);
    return () => {
      if (watch.listener === listener) this.#end(watch);
    };
  }

  #start(request: WatchRequest, listener: WatchListener): Watch {
    const watch: Watch = {
      request,
      listener,
      stop: () => undefined,
      deliveredMs: 0,
      createdAt: undefined,
      newest: undefined,
      isResuming: false,
    };
    this.#watches.add(watch);
    this.#evidence.onWatch(request, undefined);
    if (this.#connection === undefined) this.#connect(this.#prng.between(1, 5));
    else this.#create(this.#connection, watch);
    return watch;
  }

  #resume(request: WatchRequest, listener: WatchListener): Watch | undefined {
    const watch = isKeepable(request) ? this.#idle.get(request.key) : undefined;
    if (watch === undefined) return undefined;
    this.#idle.delete(request.key);
    this.#watches.add(watch);
    Object.assign(watch, { request, listener, isResuming: true });
    this.#evidence.onWatch(request, undefined);
    queueMicrotask(() => {
      if (watch.listener === listener) this.#confirmResumed(watch, listener);
    });
    return watch;
  }

  #confirmResumed(watch: Watch, listener: WatchListener): void {
    const { createdAt, newest, request } = watch;
    watch.isResuming = false;
    if (createdAt === undefined) return;
    const changedAt = newest?.kv.modRevision ?? 0n;
    const knownRevision = request.knownRevision ?? changedAt;
    this.#confirm(watch, createdAt > knownRevision ? createdAt : knownRevision);
    if (newest !== undefined && changedAt > knownRevision && watch.listener === listener) this.#report(watch, [newest]);
  }

  #end(watch: Watch): void {
    const { key } = watch.request;
    watch.listener = undefined;
    this.#watches.delete(watch);
    if (this.#connection === undefined || !isKeepable(watch.request) || this.#idle.has(key)) {
      watch.stop();
      return;
    }
    this.#idle.set(key, watch);
    const [oldest] = this.#idle.values();
    if (oldest === undefined || this.#idle.size <= maxIdle) return;
    this.#idle.delete(oldest.request.key);
    oldest.stop();
  }

  #confirm({ request, listener }: Watch, revision: bigint): void {
    this.#world.history.add(this.#source, () => `watch of ${request.key} is created from r${String(revision)}`);
    this.#evidence.onWatch(request, revision);
    listener?.created(revision);
  }

  #report({ request, listener }: Watch, events: readonly WatchEvent[]): void {
    this.#world.history.add(this.#source, () => `gets the event of r${String(events[0]?.kv.modRevision)} on ${request.key}`);
    for (const { type, kv } of events) {
      if (type !== 'delete') continue;
      this.#evidence.onDeletion(request, kv.key, kv.modRevision);
    }
    listener?.events(events);
  }

  /** Loses all events under way, and creates all watches again at another member. */
  break(reason: string): void {
    if (this.#connection === undefined) return;
    this.#world.history.add(this.#source, () => `the watch stream breaks: ${reason}`);
    this.#connection = undefined;
    for (const watch of this.#idle.values()) watch.stop();
    this.#idle.clear();
    for (const watch of this.#watches) {
      watch.stop();
      Object.assign(watch, { createdAt: undefined, newest: undefined, deliveredMs: 0 });
      this.#evidence.onWatch(watch.request, undefined);
      watch.listener?.broken?.(0);
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
        this.#connection = { isDead: false, lagMs: faults.occurs('watchLag', this.#prng, 0.3) ? lagMs : 0 };
        for (const watch of this.#watches) this.#create(this.#connection, watch);
      },
      this.#machine,
    );
  }

  #create(connection: Connection, watch: Watch): void {
    const { faults, scenario, lastEffectMs, scheduler: clock } = this.#world;
    const lateMs = Math.min(this.#latePrng.skewed(50, 9_000), lastEffectMs - clock.nowMs);
    const isLate = faults.occurs('lateWatch', this.#latePrng, scenario.intensity);
    // A thief may come just before a waiter watches its own entry.
    const isRobbed = isOwn(watch.request) && faults.occurs('deletedEntry', this.#latePrng, scenario.intensity / 3);
    const name = nameOf('locks/', watch.request.key);
    if (isRobbed && name !== undefined) {
      clock.after(this.#latePrng.between(0, 1), () => {
        rob(this.#world, name, this.#latePrng);
      });
    }
    this.#world.scheduler.after(this.#prng.between(0.3, 4) + (isLate ? lateMs : 0), () => {
      if (this.#connection !== connection || !this.#isOpen(watch)) return;
      const { record, scheduler } = this.#world;
      const missed = record.changesSince(scheduler.nowMs - connection.lagMs);
      const revision = (missed[0]?.revision ?? record.revision + 1n) - 1n;
      this.#deliver(connection, watch, 0, () => {
        watch.createdAt = revision;
        if (!watch.isResuming && watch.listener !== undefined) this.#confirm(watch, revision);
      });
      for (const change of missed) this.#forward(connection, watch, change);
      watch.stop = record.onChange((change) => {
        this.#forward(connection, watch, change);
      });
    });
  }

  #isOpen(watch: Watch): boolean {
    return this.#watches.has(watch) || this.#idle.get(watch.request.key) === watch;
  }

  #forward(connection: Connection, watch: Watch, { atMs, events }: Change): void {
    const matching = events.filter((event) => matches(watch.request, event));
    if (matching.length === 0) return;
    const { faults, scenario, scheduler } = this.#world;
    // Servers have lost deletion events. Only a waiter that also looks from time to time recovers.
    if (watch.request.deletesOnly === true && faults.occurs('lostEvent', this.#prng, scenario.intensity)) return;
    const lagMs = faults.isOver ? 0 : Math.max(0, atMs + connection.lagMs - scheduler.nowMs);
    this.#deliver(connection, watch, lagMs, () => {
      watch.newest = matching.at(-1);
      if (!watch.isResuming && watch.listener !== undefined) this.#report(watch, matching);
    });
  }

  #deliver(connection: Connection, watch: Watch, delayMs: number, notify: () => void): void {
    const { faults, scenario, scheduler } = this.#world;
    const usualMs = this.#prng.between(0.3, 4);
    const moreMs = this.#prng.skewed(10, 1_500);
    const isSlow = faults.occurs('delay', this.#prng, scenario.intensity);
    const atMs = Math.max(watch.deliveredMs, scheduler.nowMs + delayMs + usualMs + (isSlow ? moreMs : 0));
    watch.deliveredMs = atMs;
    scheduler.at(
      atMs,
      () => {
        if (this.#connection === connection && !connection.isDead && this.#isOpen(watch)) notify();
      },
      this.#machine,
    );
  }
}

const isKeepable = ({ rangeEnd, deletesOnly }: WatchRequest): boolean => rangeEnd === undefined && deletesOnly === true;

const matches = ({ key, rangeEnd, deletesOnly }: WatchRequest, { type, kv }: WatchEvent): boolean =>
  (rangeEnd === undefined ? kv.key === key : kv.key >= key && kv.key < rangeEnd) && (type === 'delete' || deletesOnly !== true);
