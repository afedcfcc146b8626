/**
 * The line of callers that one process has for one name: who gets a place in etcd's queue, hand-over, release.
 *
 * First come, first served, whatever the kind: the caller in front gets a place as long as fewer of its kind have one here than may hold
 * together, for more could not hold anyway. So of exclusive callers one has an entry in etcd, and shared callers have one each. A
 * release with somebody next in line gives the entry's place away in one transaction.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Waiting } from './caller.ts';
import type { Entry } from '../entry/entry.ts';
import { EtcdUnavailableError, type HostFailure } from '../errors.ts';
import { queueRange, type QueueRange } from '../keys.ts';
import { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import { type Line, Place, type Shared } from './acquisition.ts';
import { quote } from '../text.ts';
import { OutcomeUnknownError } from '../store/store.ts';
import { EntryGoneError } from '../entry/value-writer.ts';

export class NameQueue implements Line {
  readonly name: string;
  readonly range: QueueRange;
  readonly #shared: Shared;
  readonly #onIdle: () => void;
  /** Who has no place yet. */
  #callers: Waiting<LockHandle>[] = [];
  /** In the order in which they were taken. */
  #places: readonly Place[] = none;
  #holders: readonly Entry[] = none;
  /** Since when etcd owes an answer, and what its hosts have said meanwhile. */
  #owed: { readonly since: Instant; readonly hosts: readonly HostFailure[] } | undefined;

  constructor(shared: Shared, name: string, onIdle: () => void) {
    this.#shared = shared;
    this.name = name;
    this.range = queueRange(shared.prefix, name);
    this.#onIdle = onIdle;
  }

  /** Whether somebody of this process is in the way of a new caller of that kind. */
  isTaken(slots: number): boolean {
    // Reading a session's clocks may find a holder's lease over: then it is lost, and the name is nobody's here.
    for (const entry of [...this.#holders]) entry.checkDeadline();
    const others = [...this.#holders.filter(({ isHeld }) => isHeld), ...this.#places.filter(({ caller }) => caller !== undefined)];
    return this.#callers.length > 0 || others.length >= slots || others.some((one) => one.slots !== slots);
  }

  /** Those of this process who wait, in their order, with the key of the entry where they have one. */
  get standing(): readonly { readonly caller: Waiting<LockHandle>; readonly key: string | undefined }[] {
    return [
      ...this.#places.flatMap(({ caller, key }) => (caller === undefined ? [] : [{ caller, key }])),
      ...this.#callers.map((caller) => ({ caller, key: undefined })),
    ];
  }

  get #waiting(): readonly Waiting<LockHandle>[] {
    return this.standing.map(({ caller }) => caller);
  }

  /** The entries of those of this process who hold. */
  get holding(): readonly Pick<Entry, 'key' | 'token'>[] {
    return this.#holders;
  }

  /** Resolves once all who have a place now stand in etcd's queue, or have come to nothing. */
  async stood(): Promise<void> {
    await Promise.all(this.#places.map((place) => place.standing()));
  }

  /** Somebody of this process has deleted every entry of the name that was created before `token`. */
  robbed(token: bigint): void {
    for (const entry of [...this.#holders, ...this.#places]) entry.robbed(token);
  }

  join(caller: Waiting<LockHandle>): void {
    caller.onGiveUp(() => {
      const index = this.#callers.indexOf(caller);
      if (index >= 0) this.#callers.splice(index, 1);
      else this.#vacate(caller);
      this.#seat();
    });
    this.#callers.push(caller);
    this.#seat();
  }

  /** Makes an entry, of which etcd has said that it is admitted, the lock that is held. */
  hold(entry: Entry, { maxHoldMs }: Pick<ResolvedLockOptions, 'maxHoldMs'>): LockHandle {
    this.#holders = [...this.#holders, entry];
    const lock = new LockHandle(
      this.#shared.clock,
      this.name,
      entry,
      () => this.#release(entry),
      () => {
        this.#letGo(entry);
      },
    );
    if (maxHoldMs !== undefined) lock.limitHold(maxHoldMs);
    return lock;
  }

  #hasRoom(slots: number): boolean {
    const isOfKind = (one: { readonly slots: number }): boolean => one.slots === slots;
    return slots === Infinity || this.#places.filter(isOfKind).length + this.#holders.filter(isOfKind).length < slots;
  }

  /** Gives places to those in front, as far as there is room. */
  #seat(): void {
    for (let next = this.#callers[0]; next !== undefined && this.#hasRoom(next.asked.slots); next = this.#callers[0]) {
      void this.#placeFor(next).serve();
    }
    if (this.#callers.length + this.#places.length + this.#holders.length === 0) this.#onIdle();
  }

  #placeFor(caller: Waiting<LockHandle>): Place {
    this.#next();
    const place = new Place(this.#shared, this, caller);
    this.#places = [...this.#places, place];
    return place;
  }

  #letGo(entry: Entry): void {
    this.#holders = without(this.#holders, entry);
    this.#seat();
  }

  #release(entry: Entry): Promise<void> {
    // First of all: what is given back cannot be lost any more, whatever the clocks say when they are read below.
    entry.giveUp();
    this.#holders = without(this.#holders, entry);
    const next = this.#callers[0];
    const mayFollow = next !== undefined && this.#hasRoom(next.asked.slots) && !this.#wouldOvertake(this.#places, next.asked.slots);
    const session = mayFollow ? this.#shared.sessions.enterAtOnce(next.asked) : undefined;
    // Reading the clocks of a session may have ended it, and a place may have become free for the next one.
    if (next === undefined || session === undefined || next !== this.#callers[0]) {
      session?.leave();
      entry.leave();
    } else {
      this.#placeFor(next).succeed(entry, session, next);
    }
    this.#seat();
    return entry.left;
  }

  // Only the last place: whoever inherits another one would overtake those who have the later ones.
  passOn(place: Place): void {
    const [next] = this.#callers;
    if (next === undefined || next.asked.slots !== place.slots || this.#places.at(-1) !== place) return;
    this.#next();
    place.inherit(next);
    // Who was behind the heir may be in front now.
    this.#seat();
  }

  #vacate(caller: Waiting<LockHandle>): void {
    const place = this.#places.find((one) => one.caller === caller);
    if (place?.isToStand === true) this.#wakeOthers(place);
    place?.vacate();
  }

  // Of one kind it does not matter who comes first: all that have a place may hold together.
  #wouldOvertake(before: readonly Place[], slots: number): boolean {
    return before.some((place) => place.slots !== slots && place.isToStand);
  }

  mustWait(place: Place): boolean {
    return this.#wouldOvertake(this.#places.slice(0, this.#places.indexOf(place)), place.slots);
  }

  stands(place: Place): void {
    this.#wakeOthers(place);
  }

  #wakeOthers({ slots }: Place): void {
    for (const place of this.#places) if (place.slots !== slots && place.isToStand) place.wake();
  }

  /** Takes the first out of the line. */
  #next(): Waiting<LockHandle> | undefined {
    const next = this.#callers.shift();
    // A name that is held must not keep the room that its callers once took.
    if (this.#callers.length === 0) this.#callers = [];
    return next;
  }

  admitted(place: Place, entry: Entry, caller: Waiting<LockHandle>): void {
    this.#places = without(this.#places, place);
    caller.resolve(this.hold(entry, caller.asked));
  }

  ended(place: Place): void {
    this.#places = without(this.#places, place);
    this.#seat();
  }

  heard(): void {
    this.#owed = undefined;
  }

  /** Keeps account of how long etcd has been silent; who was not enqueued yet is told after a whole requestTimeoutMs of it. */
  failed(caller: Waiting<LockHandle>, error: unknown, askedAt: Instant): void {
    const isSilence = error instanceof OutcomeUnknownError || error instanceof EtcdUnavailableError;
    const { since = askedAt, hosts = [] } = this.#owed ?? {};
    this.#owed = isSilence ? { since, hosts: error.hosts.length > 0 ? error.hosts : hosts } : undefined;
    if (error instanceof EntryGoneError || (error instanceof OutcomeUnknownError && this.timeLeft(caller) > 1)) return;
    this.#tell(caller, error);
  }

  // Who was enqueued once waits on whatever happens.
  #tell(caller: Waiting<LockHandle>, error: unknown): void {
    const { logger, requestTimeoutMs } = this.#shared;
    if (caller.wasEnqueued) {
      logger.warn(`etcd-locker: still waiting for lock ${quote(this.name)}: ${String(error)}`);
    } else if (this.#owed === undefined) {
      caller.reject(error);
    } else {
      const { hosts } = this.#owed;
      for (const one of this.#waiting) {
        if (one === caller || this.timeLeft(one) <= 1) one.reject(new EtcdUnavailableError(requestTimeoutMs, hosts));
      }
    }
  }

  timeLeft({ joinedAt, wasEnqueued }: Waiting<LockHandle>): number {
    const { clock, requestTimeoutMs } = this.#shared;
    if (this.#owed === undefined || wasEnqueued) return requestTimeoutMs;
    const { since } = this.#owed;
    const waitsSince = joinedAt.monotonicMs > since.monotonicMs ? joinedAt : since;
    return Math.max(1, msUntil(addMs(waitsSince, requestTimeoutMs), clock.now()));
  }

  /** Rejects whoever waits. */
  close(reason: unknown): void {
    for (const caller of this.#waiting) caller.reject(reason);
  }
}

const none: readonly never[] = [];

const without = <T>(list: readonly T[], item: T): readonly T[] =>
  list.length === 1 && list[0] === item ? none : list.filter((one) => one !== item);
