/**
 * The line of callers that one process has for one name: who gets a place in etcd's queue, hand-over, release.
 *
 * First come, first served, whatever the kind: the caller in front gets a place as long as fewer of its kind have one here than may hold
 * together, for more could not hold anyway. So of exclusive callers one has an entry in etcd, and shared callers have one each. A
 * release with somebody next in line gives the entry's place away in one transaction.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Caller } from './caller.ts';
import type { Entry } from '../entry/entry.ts';
import { EtcdUnavailableError, type HostFailure } from '../errors.ts';
import { queueRange, type QueueRange } from '../keys.ts';
import { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import { type Line, Acquisition } from './acquisition.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { quote } from '../text.ts';
import { OutcomeUnknownError } from '../store/store.ts';
import { EntryGoneError } from '../entry/value-writer.ts';

export class LocalQueue implements Line {
  readonly name: string;
  readonly range: QueueRange;
  readonly #context: LockerContext;
  readonly #onIdle: () => void;
  /** Who has no place yet. */
  #callers: Caller<LockHandle>[] = [];
  /** In the order in which they were taken. */
  #acquisitions: readonly Acquisition[] = none;
  #holders: readonly Entry[] = none;
  /** Since when etcd owes an answer, and what its hosts have said meanwhile. */
  #owed: { readonly since: Instant; readonly hosts: readonly HostFailure[] } | undefined;

  constructor(shared: LockerContext, name: string, onIdle: () => void) {
    this.#context = shared;
    this.name = name;
    this.range = queueRange(shared.prefix, name);
    this.#onIdle = onIdle;
  }

  /** Whether somebody of this process is in the way of a new caller of that kind. */
  isTaken(slots: number): boolean {
    // Reading a session's clocks may find a holder's lease over: then it is lost, and the name is nobody's here.
    for (const entry of [...this.#holders]) entry.checkDeadline();
    const others = [...this.#holders.filter(({ isHeld }) => isHeld), ...this.#acquisitions.filter(({ caller }) => caller !== undefined)];
    return this.#callers.length > 0 || others.length >= slots || others.some((one) => one.slots !== slots);
  }

  /** Those of this process who wait, in their order, with the key of the entry where they have one. */
  get waiters(): readonly { readonly caller: Caller<LockHandle>; readonly key: string | undefined }[] {
    return [
      ...this.#acquisitions.flatMap(({ caller, key }) => (caller === undefined ? [] : [{ caller, key }])),
      ...this.#callers.map((caller) => ({ caller, key: undefined })),
    ];
  }

  get #waiting(): readonly Caller<LockHandle>[] {
    return this.waiters.map(({ caller }) => caller);
  }

  /** The entries of those of this process who hold. */
  get heldEntries(): readonly Pick<Entry, 'key' | 'token'>[] {
    return this.#holders;
  }

  /** Resolves once all who have a place now stand in etcd's queue, or have come to nothing. */
  async whenEnqueued(): Promise<void> {
    await Promise.all(this.#acquisitions.map((place) => place.whenEnqueued()));
  }

  /** Somebody of this process has deleted every entry of the name that was created before `token`. */
  loseStolen(token: bigint): void {
    for (const entry of [...this.#holders, ...this.#acquisitions]) entry.loseStolen(token);
  }

  join(caller: Caller<LockHandle>): void {
    caller.onEnd(() => {
      const index = this.#callers.indexOf(caller);
      if (index >= 0) this.#callers.splice(index, 1);
      else this.#removeCaller(caller);
      this.#startAcquisitions();
    });
    this.#callers.push(caller);
    this.#startAcquisitions();
  }

  /** Makes an entry, of which etcd has said that it is admitted, the lock that is held. */
  hold(entry: Entry, { maxHoldMs }: Pick<ResolvedLockOptions, 'maxHoldMs'>): LockHandle {
    this.#holders = [...this.#holders, entry];
    const lock = new LockHandle(
      this.#context.clock,
      this.name,
      entry,
      () => this.#release(entry),
      () => {
        this.#removeHolder(entry);
      },
    );
    if (maxHoldMs !== undefined) lock.limitHold(maxHoldMs);
    return lock;
  }

  #hasRoom(slots: number): boolean {
    const isOfKind = (one: { readonly slots: number }): boolean => one.slots === slots;
    return slots === Infinity || this.#acquisitions.filter(isOfKind).length + this.#holders.filter(isOfKind).length < slots;
  }

  /** Gives places to those in front, as far as there is room. */
  #startAcquisitions(): void {
    for (let next = this.#callers[0]; next !== undefined && this.#hasRoom(next.options.slots); next = this.#callers[0]) {
      void this.#newAcquisition(next).run();
    }
    if (this.#callers.length + this.#acquisitions.length + this.#holders.length === 0) this.#onIdle();
  }

  #newAcquisition(caller: Caller<LockHandle>): Acquisition {
    this.#shiftCaller();
    const place = new Acquisition(this.#context, this, caller);
    this.#acquisitions = [...this.#acquisitions, place];
    return place;
  }

  #removeHolder(entry: Entry): void {
    this.#holders = without(this.#holders, entry);
    this.#startAcquisitions();
  }

  #release(entry: Entry): Promise<void> {
    // First of all: what is given back cannot be lost any more, whatever the clocks say when they are read below.
    entry.markReleased();
    this.#holders = without(this.#holders, entry);
    const next = this.#callers[0];
    const mayFollow =
      next !== undefined && this.#hasRoom(next.options.slots) && !this.#wouldOvertake(this.#acquisitions, next.options.slots);
    const session = mayFollow ? this.#context.sessions.enterAtOnce(next.options) : undefined;
    // Reading the clocks of a session may have ended it, and a place may have become free for the next one.
    if (next === undefined || session === undefined || next !== this.#callers[0]) {
      session?.unreserve();
      entry.release();
    } else {
      this.#newAcquisition(next).startWithHandOver(entry, session, next);
    }
    this.#startAcquisitions();
    return entry.released;
  }

  // Only the last place: whoever inherits another one would overtake those who have the later ones.
  inheritCaller(place: Acquisition): void {
    const [next] = this.#callers;
    if (next === undefined || next.options.slots !== place.slots || this.#acquisitions.at(-1) !== place) return;
    this.#shiftCaller();
    place.setCaller(next);
    // Who was behind the heir may be in front now.
    this.#startAcquisitions();
  }

  #removeCaller(caller: Caller<LockHandle>): void {
    const place = this.#acquisitions.find((one) => one.caller === caller);
    if (place?.isUnqueued === true) this.#wakeOtherKinds(place);
    place?.removeCaller();
  }

  // Of one kind it does not matter who comes first: all that have a place may hold together.
  #wouldOvertake(before: readonly Acquisition[], slots: number): boolean {
    return before.some((place) => place.slots !== slots && place.isUnqueued);
  }

  mustWait(place: Acquisition): boolean {
    return this.#wouldOvertake(this.#acquisitions.slice(0, this.#acquisitions.indexOf(place)), place.slots);
  }

  onEnqueued(place: Acquisition): void {
    this.#wakeOtherKinds(place);
  }

  #wakeOtherKinds({ slots }: Acquisition): void {
    for (const place of this.#acquisitions) if (place.slots !== slots && place.isUnqueued) place.wake();
  }

  /** Takes the first out of the line. */
  #shiftCaller(): Caller<LockHandle> | undefined {
    const next = this.#callers.shift();
    // A name that is held must not keep the room that its callers once took.
    if (this.#callers.length === 0) this.#callers = [];
    return next;
  }

  onAdmitted(place: Acquisition, entry: Entry, caller: Caller<LockHandle>): void {
    this.#acquisitions = without(this.#acquisitions, place);
    caller.resolve(this.hold(entry, caller.options));
  }

  onEnded(place: Acquisition): void {
    this.#acquisitions = without(this.#acquisitions, place);
    this.#startAcquisitions();
  }

  onResponse(): void {
    this.#owed = undefined;
  }

  /** Keeps account of how long etcd has been silent; who was not enqueued yet is told after a whole requestTimeoutMs of it. */
  onFailure(caller: Caller<LockHandle>, error: unknown, askedAt: Instant): void {
    const isSilence = error instanceof OutcomeUnknownError || error instanceof EtcdUnavailableError;
    const { since = askedAt, hosts = [] } = this.#owed ?? {};
    this.#owed = isSilence ? { since, hosts: error.hosts.length > 0 ? error.hosts : hosts } : undefined;
    if (error instanceof EntryGoneError || (error instanceof OutcomeUnknownError && this.timeLeft(caller) > 1)) return;
    this.#rejectOrWarn(caller, error);
  }

  // Who was enqueued once waits on whatever happens.
  #rejectOrWarn(caller: Caller<LockHandle>, error: unknown): void {
    const { logger, requestTimeoutMs } = this.#context;
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

  timeLeft({ joinedAt, wasEnqueued }: Caller<LockHandle>): number {
    const { clock, requestTimeoutMs } = this.#context;
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
