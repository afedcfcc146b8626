/**
 * An acquisition: the way of one caller from a session to a held lock.
 *
 *     no entry ──session──▶ new ──creation──▶ queued ──value written, look──▶ admitted ──deadline well ahead──▶ held
 *        ▲                   │                 │  ▲                              │
 *        │                   │                 │  └── a predecessor is deleted   └── renew first
 *        └───────────────────┴─────────────────┴── the entry is gone, or its session is sealed
 *
 * One loop takes step after step, and asks before each step which caller it serves. If a caller stops waiting, the next caller of the
 * local queue may inherit the entry. No failed step ends the loop: the local queue decides which caller rejects.
 */
import { backoffMs } from '../backoff.ts';
import type { Instant } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { Entry } from '../entry/entry.ts';
import { handOverFrom, plainCreation } from '../entry/transactions.ts';
import type { QueueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from '../store/store.ts';
import type { Caller } from './caller.ts';

/** The part of the local queue that an acquisition uses. */
export interface AcquisitionQueue {
  readonly range: QueueRange;
  /** Gives the acquisition of a caller that gave up to the next caller, if that one can use it. */
  inheritNextCaller(acquisition: Acquisition): void;
  /** Whether an earlier caller of another kind has no entry yet. */
  mustWait(acquisition: Acquisition): boolean;
  /** The entry is in etcd's queue. */
  onEnqueued(acquisition: Acquisition): void;
  /** The caller gets its lock, and may release it in the same tick. */
  onAdmitted(acquisition: Acquisition, entry: Entry, caller: Caller<LockHandle>): void;
  /** The acquisition ended without a lock. */
  onEnded(acquisition: Acquisition): void;
  onResponse(): void;
  /** A step that began at `startedAt` failed. */
  onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): void;
  /** Returns how long a step for the caller may take. */
  timeLeftMs(caller: Caller<LockHandle>): number;
}

export class Acquisition {
  readonly slots: number;
  readonly #context: LockerContext;
  readonly #queue: AcquisitionQueue;
  #caller: Caller<LockHandle> | undefined;
  #entry: Entry | undefined;
  /** A released entry that the creation of this one deletes. */
  #handOverFrom: Entry | undefined;
  /** The entry whose session was renewed to hold it. */
  #renewedFor: Entry | undefined;
  /** The creations since it last waited for its turn. */
  #creations = 0;
  #enqueued: Deferred<void> | undefined;
  #isWoken = false;
  #endSleep: () => void = () => undefined;

  constructor(context: LockerContext, queue: AcquisitionQueue, caller: Caller<LockHandle>) {
    this.slots = caller.options.slots;
    this.#context = context;
    this.#queue = queue;
    this.#caller = caller;
  }

  get caller(): Caller<LockHandle> | undefined {
    return this.#caller;
  }

  get key(): string | undefined {
    return this.#entry?.key;
  }

  /** Whether it has a caller that never had an entry in etcd. */
  get isUnqueued(): boolean {
    return this.#caller?.wasEnqueued === false;
  }

  /** Resolves once etcd has the entry, or the acquisition has ended. */
  whenEnqueued(): Promise<void> {
    if (!this.isUnqueued) return Promise.resolve();
    return (this.#enqueued ??= deferred()).promise;
  }

  /** Takes in that this process deleted all entries of the name that were created before `token`. */
  onSteal(token: bigint): void {
    this.#entry?.onSteal(token);
  }

  /** Takes in that the caller gave up. */
  removeCaller(): void {
    this.#caller = undefined;
    this.wake();
  }

  setCaller(caller: Caller<LockHandle>): void {
    this.#caller = caller;
  }

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#endSleep();
  };

  /** Starts with an entry whose creation deletes the released entry `old`. */
  runHandOver(old: Entry, session: Session, caller: Caller<LockHandle>): void {
    this.#handOverFrom = old;
    this.#entry = this.#newEntry(session, caller);
    void this.run();
  }

  async run(): Promise<void> {
    let failures = 0;
    for (let caller = this.#currentCaller(); caller !== undefined; caller = this.#currentCaller()) {
      const startedAt = this.#context.clock.now();
      try {
        if (await this.#step(caller)) return;
        failures = 0;
      } catch (error) {
        this.#queue.onFailure(caller, error, startedAt);
        // The entry is unsettled now. Settling it is the next step, without a pause.
        if (error instanceof OutcomeUnknownError && this.#queue.timeLeftMs(caller) > 1) continue;
        failures += 1;
        if (caller.isWaiting && this.#entry?.kind !== 'gone') await this.#sleep(backoffMs(failures, { firstMs: 25 }));
      }
    }
    this.#abandonEntry();
    this.#enqueued?.resolve();
    this.#queue.onEnded(this);
  }

  #currentCaller(): Caller<LockHandle> | undefined {
    if (this.#caller === undefined) this.#queue.inheritNextCaller(this);
    return this.#caller;
  }

  /** Takes one step towards the lock. Returns whether it was the last one. */
  async #step(caller: Caller<LockHandle>): Promise<boolean> {
    const entry = this.#entry;
    if (entry?.session.refusal !== undefined) throw entry.session.refusal;
    if (!caller.wasEnqueued && this.#queue.mustWait(this)) {
      await this.#sleep();
    } else if (entry === undefined) {
      const { sessions } = this.#context;
      const session = sessions.enterAtOnce(caller.options) ?? (await sessions.enter(caller.options, this.#queue.timeLeftMs(caller)));
      this.#queue.onResponse();
      this.#entry = this.#newEntry(session, caller);
    } else if (entry.kind === 'gone' || entry.kind === 'releasing' || entry.session.isSealed || !entry.session.suits(caller.options)) {
      this.#abandonEntry();
    } else if (entry.kind === 'new') {
      await this.#create(entry, caller);
    } else if (entry.kind === 'unsettled') {
      await entry.settle(this.#queue.timeLeftMs(caller));
      this.#queue.onResponse();
    } else {
      return this.#stepInQueue(entry, caller);
    }
    return false;
  }

  async #stepInQueue(entry: Entry, caller: Caller<LockHandle>): Promise<boolean> {
    const { value, lease } = caller.options;
    if (!caller.wasEnqueued) {
      caller.wasEnqueued = true;
      this.#enqueued?.resolve();
      this.#queue.onEnqueued(this);
    }
    if (!entry.hasValue(value)) {
      await entry.setValue(value);
    } else if (entry.needsLook) {
      await entry.look();
    } else if (!entry.isAdmitted) {
      this.#renewedFor = undefined;
      entry.watchPredecessors();
      await this.#sleep();
      this.#creations = 0;
    } else if (this.#hasTimeToHold(entry, lease !== undefined)) {
      this.#queue.onAdmitted(this, entry, caller);
      return true;
    } else {
      // A look before the renewal may be old, so it is repeated. That happens once: otherwise, with slow looks, the deadline would
      // come too near during each look, and renewals and looks would alternate for ever.
      if (this.#renewedFor !== entry) entry.forgetLook();
      await this.#context.heartbeat.beat(entry.session);
      this.#renewedFor = entry;
    }
    return false;
  }

  /** Whether enough of the TTL is left. A lock with a private lease starts with nearly all of it. */
  #hasTimeToHold(entry: Entry, isPrivate: boolean): boolean {
    const { isWellAhead, isFresh } = entry.session;
    return isWellAhead && (!isPrivate || isFresh || this.#renewedFor === entry);
  }

  async #create(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    // Each refusal calls for another creation at once, so a gate or an entry that never stays would make an endless loop.
    if (this.#creations++ > 1) await this.#sleep(backoffMs(this.#creations - 3, { firstMs: 25 }));
    if (!caller.isWaiting || entry.kind !== 'new' || entry.session.isSealed) return;
    const old = this.#handOverFrom;
    try {
      const creation = old === undefined ? plainCreation(entry) : handOverFrom(old);
      const outcome = await entry.create(creation, this.#queue.timeLeftMs(caller));
      this.#queue.onResponse();
      if (outcome === 'created') {
        old?.confirmReleased();
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

  // A hand-over that fails for the next caller's sake must not keep the lock of the previous holder.
  #releasePlainly(): void {
    this.#handOverFrom?.release();
    this.#handOverFrom = undefined;
  }

  #abandonEntry(): void {
    this.#releasePlainly();
    this.#entry?.abandon();
    this.#entry = undefined;
  }

  #newEntry(session: Session, { options }: Caller<LockHandle>): Entry {
    return new Entry(this.#context, this.#queue.range, session, options, this.wake);
  }

  /** Sleeps until `wake`, or for `delayMs`. */
  async #sleep(delayMs?: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = delayMs === undefined ? undefined : this.#context.clock.setTimer(delayMs, resolve);
        this.#endSleep = () => {
          cancel?.();
          resolve();
        };
      });
    }
    this.#endSleep = () => undefined;
    this.#isWoken = false;
  }
}
