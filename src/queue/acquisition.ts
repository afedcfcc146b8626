/**
 * One place in a name's queue, from the session that it needs to the lock that comes of it.
 *
 * One loop serves the caller whose place it is, step by step, and asks after each step who that is now: whoever gives up may leave the
 * place to the next in line. Nothing that fails in between is the end; the line decides which caller is told.
 */
import type { Caller } from './caller.ts';
import type { Clock, Instant } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { Entry } from '../entry/entry.ts';
import type { QueueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { Session } from '../session/session.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from '../store/store.ts';
import { plainCreation, handOverFrom } from '../entry/transactions.ts';

/** What a place sees of the line of callers that it stands for. */
export interface Line {
  readonly range: QueueRange;
  /** The caller has given up: gives the place to the next in line, if that one can use it. */
  inheritCaller(place: Acquisition): void;
  /** Whether others were there first who do not stand in etcd's queue yet. */
  mustWait(place: Acquisition): boolean;
  /** Its entry is in etcd's queue. */
  onEnqueued(place: Acquisition): void;
  /** It has its lock; the caller may release in the same turn. */
  onAdmitted(place: Acquisition, entry: Entry, caller: Caller<LockHandle>): void;
  /** It ended without a lock. */
  onEnded(place: Acquisition): void;
  /** etcd has answered. */
  onResponse(): void;
  /** A step that began at `askedAt` has failed. */
  onFailure(caller: Caller<LockHandle>, error: unknown, askedAt: Instant): void;
  /** How long a step for the caller may take. */
  timeLeft(caller: Caller<LockHandle>): number;
}

export class Acquisition {
  readonly slots: number;
  readonly #context: LockerContext;
  readonly #queue: Line;
  #caller: Caller<LockHandle> | undefined;
  #entry: Entry | undefined;
  /** An entry that is to be deleted by the creation of this one. */
  #handOverFrom: Entry | undefined;
  /** Renewed for a caller who wants the whole TTL from now on. */
  #renewed: Entry | undefined;
  #enqueued: Deferred<void> | undefined;
  #isWoken = false;
  #wake: () => void = () => undefined;

  constructor(shared: LockerContext, line: Line, caller: Caller<LockHandle>) {
    this.slots = caller.options.slots;
    this.#context = shared;
    this.#queue = line;
    this.#caller = caller;
  }

  get caller(): Caller<LockHandle> | undefined {
    return this.#caller;
  }

  get key(): string | undefined {
    return this.#entry?.key;
  }

  /** Whether its caller has not been in etcd's queue yet. */
  get isUnqueued(): boolean {
    return this.#caller?.wasEnqueued === false;
  }

  /** Resolves once its caller stands in etcd's queue, or it has come to nothing. */
  whenEnqueued(): Promise<void> {
    if (!this.isUnqueued) return Promise.resolve();
    return (this.#enqueued ??= deferred()).promise;
  }

  /** As `Entry.robbed`: it comes back with a new entry. */
  loseStolen(token: bigint): void {
    this.#entry?.loseStolen(token);
  }

  /** The caller waits no more. */
  removeCaller(): void {
    this.#caller = undefined;
    this.wake();
  }

  /** Another caller has it from now on. */
  setCaller(caller: Caller<LockHandle>): void {
    this.#caller = caller;
  }

  /** Begins with an entry that takes the place of `old` in one step. */
  startWithHandOver(old: Entry, session: Session, caller: Caller<LockHandle>): void {
    this.#handOverFrom = old;
    this.#entry = this.#newEntry(session, caller);
    void this.run();
  }

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#wake();
  };

  async run(): Promise<void> {
    let failures = 0;
    for (let caller = this.#currentCaller(); caller !== undefined; caller = this.#currentCaller()) {
      const askedAt = this.#context.clock.now();
      try {
        if (await this.#advance(caller)) return;
        failures = 0;
      } catch (error) {
        this.#queue.onFailure(caller, error, askedAt);
        // The entry is unsettled now: that is the next step, and one to be taken at once.
        if (error instanceof OutcomeUnknownError && this.#queue.timeLeft(caller) > 1) continue;
        failures += 1;
        if (caller.isWaiting && this.#entry?.kind !== 'gone') await this.#sleep(this.#context.clock, Math.min(25 * 2 ** failures, 1_000));
      }
    }
    this.#abandonEntry();
    this.#enqueued?.resolve();
    this.#queue.onEnded(this);
  }

  #currentCaller(): Caller<LockHandle> | undefined {
    if (this.#caller === undefined) this.#queue.inheritCaller(this);
    return this.#caller;
  }

  /** One step towards the lock; tells whether it was the last. */
  async #advance(caller: Caller<LockHandle>): Promise<boolean> {
    const entry = this.#entry;
    if (!caller.wasEnqueued && this.#queue.mustWait(this)) {
      await this.#sleep(this.#context.clock);
    } else if (entry === undefined) {
      const { sessions } = this.#context;
      const session = sessions.enterAtOnce(caller.options) ?? (await sessions.enter(caller.options, this.#queue.timeLeft(caller)));
      this.#queue.onResponse();
      this.#entry = this.#newEntry(session, caller);
    } else if (entry.kind === 'gone' || entry.session.isSealed || !entry.session.suits(caller.options)) {
      this.#abandonEntry();
    } else if (entry.kind === 'new') {
      await this.#enqueue(entry, caller);
    } else if (entry.kind === 'unsettled') {
      await entry.settle(this.#queue.timeLeft(caller));
      this.#queue.onResponse();
    } else {
      return this.#awaitTurn(entry, caller);
    }
    return false;
  }

  async #awaitTurn(entry: Entry, caller: Caller<LockHandle>): Promise<boolean> {
    const { options: asked } = caller;
    if (!caller.wasEnqueued) {
      caller.wasEnqueued = true;
      this.#enqueued?.resolve();
      this.#queue.onEnqueued(this);
    }
    if (!entry.hasValue(asked.value)) {
      await entry.setValue(asked.value);
    } else if (entry.needsLook) {
      await entry.look();
    } else if (!entry.isAdmitted) {
      entry.watchPredecessors();
      await this.#sleep(this.#context.clock);
    } else if (!this.#hasTimeToHold(entry, asked.lease === undefined)) {
      // The lease may have ended by now: what was read before the renewal does not count.
      entry.forgetLook();
      await this.#context.heartbeat.beat(entry.session);
      this.#renewed = entry;
    } else {
      this.#queue.onAdmitted(this, entry, caller);
      return true;
    }
    return false;
  }

  /** A lock that is not renewed has nearly its whole TTL when it is acquired. */
  #hasTimeToHold({ session }: Entry, isRenewed: boolean): boolean {
    return session.isWellAhead && (isRenewed || session.isFresh || this.#renewed?.session === session);
  }

  async #enqueue(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    const old = this.#handOverFrom;
    try {
      const creation = old === undefined ? plainCreation(entry) : handOverFrom(old);
      const outcome = await entry.create(creation, this.#queue.timeLeft(caller));
      this.#queue.onResponse();
      if (outcome === 'created') {
        old?.confirmRelease();
        this.#handOverFrom = undefined;
      } else if (outcome === 'not-created') {
        if (old === undefined) this.#abandonEntry();
        else this.#releasePlainly();
      }
    } catch (error) {
      this.#releasePlainly();
      if (error instanceof LeaseNotFoundError) entry.session.end('expired');
      else if (old === undefined || error instanceof OutcomeUnknownError) throw error;
    }
  }

  // The next caller's fault never keeps the previous holder's lock.
  #releasePlainly(): void {
    this.#handOverFrom?.release();
    this.#handOverFrom = undefined;
  }

  #abandonEntry(): void {
    this.#releasePlainly();
    this.#entry?.abandon();
    this.#entry = undefined;
  }

  #newEntry(session: Session, { options: asked }: Caller<LockHandle>): Entry {
    return new Entry(this.#context, this.#queue.range, session, asked, this.wake);
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
