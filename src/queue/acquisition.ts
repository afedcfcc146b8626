/**
 * One place in a name's queue, from the session that it needs to the lock that comes of it.
 *
 * One loop serves the caller whose place it is, step by step, and asks after each step who that is now: whoever gives up may leave the
 * place to the next in line. Nothing that fails in between is the end; the line decides which caller is told.
 */
import type { Waiting } from './caller.ts';
import type { Clock, Instant } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { Entry } from '../entry/entry.ts';
import type { Heartbeat } from '../session/heartbeat.ts';
import type { QueueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { Context, Session } from '../session/session.ts';
import type { Sessions } from '../session/session-pool.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from '../store/store.ts';
import { enqueueOf, successionOf } from '../entry/transactions.ts';

/** The parts that all queues of a locker share. */
export interface Shared extends Context {
  readonly sessions: Sessions;
  readonly heartbeat: Heartbeat;
}

/** What a place sees of the line of callers that it stands for. */
export interface Line {
  readonly range: QueueRange;
  /** The caller has given up: gives the place to the next in line, if that one can use it. */
  passOn(place: Place): void;
  /** Whether others were there first who do not stand in etcd's queue yet. */
  mustWait(place: Place): boolean;
  /** Its entry is in etcd's queue. */
  stands(place: Place): void;
  /** It has its lock; the caller may release in the same turn. */
  admitted(place: Place, entry: Entry, caller: Waiting<LockHandle>): void;
  /** It ended without a lock. */
  ended(place: Place): void;
  /** etcd has answered. */
  heard(): void;
  /** A step that began at `askedAt` has failed. */
  failed(caller: Waiting<LockHandle>, error: unknown, askedAt: Instant): void;
  /** How long a step for the caller may take. */
  timeLeft(caller: Waiting<LockHandle>): number;
}

export class Place {
  readonly slots: number;
  readonly #shared: Shared;
  readonly #line: Line;
  #caller: Waiting<LockHandle> | undefined;
  #entry: Entry | undefined;
  /** An entry that is to be deleted by the creation of this one. */
  #replaces: Entry | undefined;
  /** Renewed for a caller who wants the whole TTL from now on. */
  #renewed: Entry | undefined;
  #stood: Deferred<void> | undefined;
  #isWoken = false;
  #wake: () => void = () => undefined;

  constructor(shared: Shared, line: Line, caller: Waiting<LockHandle>) {
    this.slots = caller.asked.slots;
    this.#shared = shared;
    this.#line = line;
    this.#caller = caller;
  }

  get caller(): Waiting<LockHandle> | undefined {
    return this.#caller;
  }

  get key(): string | undefined {
    return this.#entry?.key;
  }

  /** Whether its caller has not been in etcd's queue yet. */
  get isToStand(): boolean {
    return this.#caller?.wasEnqueued === false;
  }

  /** Resolves once its caller stands in etcd's queue, or it has come to nothing. */
  standing(): Promise<void> {
    if (!this.isToStand) return Promise.resolve();
    return (this.#stood ??= deferred()).promise;
  }

  /** As `Entry.robbed`: it comes back with a new entry. */
  robbed(token: bigint): void {
    this.#entry?.robbed(token);
  }

  /** The caller waits no more. */
  vacate(): void {
    this.#caller = undefined;
    this.wake();
  }

  /** Another caller has it from now on. */
  inherit(caller: Waiting<LockHandle>): void {
    this.#caller = caller;
  }

  /** Begins with an entry that takes the place of `old` in one step. */
  succeed(old: Entry, session: Session, caller: Waiting<LockHandle>): void {
    this.#replaces = old;
    this.#entry = this.#newEntry(session, caller);
    void this.serve();
  }

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#wake();
  };

  async serve(): Promise<void> {
    let failures = 0;
    for (let caller = this.#whom(); caller !== undefined; caller = this.#whom()) {
      const askedAt = this.#shared.clock.now();
      try {
        if (await this.#advance(caller)) return;
        failures = 0;
      } catch (error) {
        this.#line.failed(caller, error, askedAt);
        // The entry is unsettled now: that is the next step, and one to be taken at once.
        if (error instanceof OutcomeUnknownError && this.#line.timeLeft(caller) > 1) continue;
        failures += 1;
        if (caller.isWaiting && this.#entry?.kind !== 'gone') await this.#sleep(this.#shared.clock, Math.min(25 * 2 ** failures, 1_000));
      }
    }
    this.#drop();
    this.#stood?.resolve();
    this.#line.ended(this);
  }

  #whom(): Waiting<LockHandle> | undefined {
    if (this.#caller === undefined) this.#line.passOn(this);
    return this.#caller;
  }

  /** One step towards the lock; tells whether it was the last. */
  async #advance(caller: Waiting<LockHandle>): Promise<boolean> {
    const entry = this.#entry;
    if (!caller.wasEnqueued && this.#line.mustWait(this)) {
      await this.#sleep(this.#shared.clock);
    } else if (entry === undefined) {
      const { sessions } = this.#shared;
      const session = sessions.enterAtOnce(caller.asked) ?? (await sessions.enter(caller.asked, this.#line.timeLeft(caller)));
      this.#line.heard();
      this.#entry = this.#newEntry(session, caller);
    } else if (entry.kind === 'gone' || entry.session.isSealed || !entry.session.suits(caller.asked)) {
      this.#drop();
    } else if (entry.kind === 'new') {
      await this.#enqueue(entry, caller);
    } else if (entry.kind === 'unsettled') {
      await entry.settle(this.#line.timeLeft(caller));
      this.#line.heard();
    } else {
      return this.#awaitTurn(entry, caller);
    }
    return false;
  }

  async #awaitTurn(entry: Entry, caller: Waiting<LockHandle>): Promise<boolean> {
    const { asked } = caller;
    if (!caller.wasEnqueued) {
      caller.wasEnqueued = true;
      this.#stood?.resolve();
      this.#line.stands(this);
    }
    if (!entry.bears(asked.value)) {
      await entry.setValue(asked.value);
    } else if (entry.needsLook) {
      await entry.look();
    } else if (!entry.isAdmitted) {
      entry.awaitTurn();
      await this.#sleep(this.#shared.clock);
    } else if (!this.#hasTimeToHold(entry, asked.lease === undefined)) {
      // The lease may have ended by now: what was read before the renewal does not count.
      entry.forgetLook();
      await this.#shared.heartbeat.beat(entry.session);
      this.#renewed = entry;
    } else {
      this.#line.admitted(this, entry, caller);
      return true;
    }
    return false;
  }

  /** A lock that is not renewed has nearly its whole TTL when it is acquired. */
  #hasTimeToHold({ session }: Entry, isRenewed: boolean): boolean {
    return session.isWellAhead && (isRenewed || session.isFresh || this.#renewed?.session === session);
  }

  async #enqueue(entry: Entry, caller: Waiting<LockHandle>): Promise<void> {
    const old = this.#replaces;
    try {
      const creation = old === undefined ? enqueueOf(entry) : successionOf(old);
      const outcome = await entry.create(creation, this.#line.timeLeft(caller));
      this.#line.heard();
      if (outcome === 'created') {
        old?.replaced();
        this.#replaces = undefined;
      } else if (outcome === 'not-created') {
        if (old === undefined) this.#drop();
        else this.#leavePlainly();
      }
    } catch (error) {
      this.#leavePlainly();
      if (error instanceof LeaseNotFoundError) entry.session.end('expired');
      else if (old === undefined || error instanceof OutcomeUnknownError) throw error;
    }
  }

  // The next caller's fault never keeps the previous holder's lock.
  #leavePlainly(): void {
    this.#replaces?.leave();
    this.#replaces = undefined;
  }

  #drop(): void {
    this.#leavePlainly();
    this.#entry?.abandon();
    this.#entry = undefined;
  }

  #newEntry(session: Session, { asked }: Waiting<LockHandle>): Entry {
    return new Entry(this.#shared, this.#line.range, session, asked, this.wake);
  }

  /** Until something happens, or at most `delayMs`. */
  async #sleep(clock: Clock, delayMs?: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = delayMs === undefined ? undefined : clock.setTimer(delayMs, resolve);
        this.#wake = () => {
          cancel?.();
          resolve();
        };
      });
    }
    this.#wake = () => undefined;
    this.#isWoken = false;
  }
}
