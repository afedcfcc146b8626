/**
 * The watches of one waiter: on the entries that are in its way, and on its own entry.
 *
 * The own entry is watched where the deletion of an obstacle admits. A look shows that the own entry is there; without a look only its
 * watch can tell that somebody has stolen or broken the entry. That may be reported a little later than the deletion that admits: the lock
 * is lost then, at once. So the watch goes on for a new holder. After the first beat of the hold, the audit of the session does the same.
 *
 * The watch of a whole queue, which a semaphore has, reports the end of the own entry too.
 */
import { isExact, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { Session } from '../session/session.ts';
import type { Store, WatchEvent } from '../store/store.ts';
import type { Obstacle } from './admission.ts';
import { DeletionWatch } from './deletion-watch.ts';

/** The part of an entry that its watches use. */
export interface WatchedEntry {
  readonly key: string;
  readonly queue: QueueRange;
  readonly slots: number;
  readonly session: Session;
  readonly token: bigint;
  readonly isHeld: boolean;
  lose(reason: 'deleted'): void;
  verify(): Promise<void>;
}

/** What a waiter learns. A holder learns only of the loss. */
interface WaiterListener {
  /** A watch is confirmed. */
  created(revision: bigint, isOrdinary: boolean): void;
  broken(): void;
  /** Entries of the queue were deleted, and not the own one. */
  deleted(events: readonly WatchEvent[]): void;
}

export class WaiterWatches {
  readonly #store: Store;
  readonly #entry: WatchedEntry;
  readonly #listener: WaiterListener;
  /** The watches on the obstacle, by key. That of the whole queue has the queue's key. */
  readonly #watches = new Map<string, DeletionWatch>();
  #own: DeletionWatch | undefined;
  /** The renewals of the session before the entry was first held. */
  #renewalsBefore: number | undefined;

  constructor(store: Store, entry: WatchedEntry, listener: WaiterListener) {
    this.#store = store;
    this.#entry = entry;
    this.#listener = listener;
  }

  /** An identity of the confirmation of the watch on the own entry. Undefined while that is not confirmed. */
  get confirmation(): object | undefined {
    return this.#proof?.confirmation;
  }

  /** Whether each deletion of the own entry since a look at `revision` is reported. `known` as in `DeletionWatch.covers`. */
  covers(revision: bigint, known: object | undefined): boolean {
    return this.#proof?.covers(revision, known) === true;
  }

  get #proof(): DeletionWatch | undefined {
    return this.#own ?? this.#watches.get(this.#entry.queue.key);
  }

  /** Watches the obstacle, and nothing else of the queue. The own entry too, if the deletion of the obstacle admits. */
  watch({ keys, isAll }: Obstacle, knownRevision: bigint): void {
    const { queue, slots } = this.#entry;
    const isQueue = !keys.every(isExact) || (slots !== exclusive && keys.length > 1);
    const wanted = isQueue ? [queue.key] : keys;
    for (const key of [...this.#watches.keys()]) if (!wanted.includes(key)) this.#stop(key);
    // The own entry first: its watch has to be confirmed when the deletion of the obstacle is reported.
    if (isAll && !isQueue) this.watchOwn(knownRevision);
    else this.#stopOwn();
    for (const key of wanted) {
      if (!this.#watches.has(key)) this.#watches.set(key, this.#watchObstacle(isQueue ? queue : { key }, knownRevision));
    }
  }

  #watchObstacle(range: { readonly key: string; readonly rangeEnd?: string }, knownRevision: bigint): DeletionWatch {
    const [entry, listener] = [this.#entry, this.#listener];
    return new DeletionWatch(this.#store, range, knownRevision, {
      created: (revision, isOrdinary) => {
        listener.created(revision, isOrdinary);
      },
      broken: () => {
        listener.broken();
      },
      deleted: (events) => {
        // The end of the own entry comes first: both may have gone in one revision.
        if (events.some(({ kv }) => kv.key === entry.key && kv.modRevision > entry.token)) entry.lose('deleted');
        else listener.deleted(events);
      },
    });
  }

  watchOwn(knownRevision: bigint): void {
    const entry = this.#entry;
    // The other watches of a waiter notice a silent connection, and the beat does it for a holder.
    this.#own ??= new DeletionWatch(this.#store, { key: entry.key, isBackground: true }, knownRevision, {
      created: (revision, isOrdinary) => {
        if (!entry.isHeld) this.#listener.created(revision, isOrdinary);
        // The beat finds out what a failed read does not.
        else entry.verify().catch(() => undefined);
      },
      broken: () => {
        if (!entry.isHeld) this.#listener.broken();
      },
      deleted: (events) => {
        // An earlier entry may have had this key.
        if (events.some(({ kv }) => kv.modRevision > entry.token)) entry.lose('deleted');
      },
    });
  }

  /** Takes in that the entry is held. Only the watch on the own entry goes on, if it `isNeeded`. Returns whether it does. */
  hold(isNeeded: boolean): boolean {
    for (const key of [...this.#watches.keys()]) this.#stop(key);
    if (!isNeeded) this.#stopOwn();
    this.#renewalsBefore ??= this.#entry.session.renewals;
    return this.#own !== undefined;
  }

  /** Ends the watch of a holder after its first beat. A lease without beats has none. */
  tickHeld(): void {
    const { session } = this.#entry;
    if (session.renewals > (this.#renewalsBefore ?? 0) || !session.needsRenewal()) this.#stopOwn();
  }

  stop(): void {
    for (const key of [...this.#watches.keys()]) this.#stop(key);
    this.#stopOwn();
  }

  #stop(key: string): void {
    this.#watches.get(key)?.stop();
    this.#watches.delete(key);
  }

  #stopOwn(): void {
    this.#own?.stop();
    this.#own = undefined;
  }
}
