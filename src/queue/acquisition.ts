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
 *
 * Creations and looks go through the local queue, which sends them in the order of the callers and several in one request.
 */
import { backoffMs } from '../backoff.ts';
import type { Instant } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import type { CreationOutcome, EntryToCreate } from '../entry/creation.ts';
import { Entry } from '../entry/entry.ts';
import { EtcdAuthError, EtcdRefusedError } from '../errors.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from '../store/store.ts';
import type { AcquisitionQueue } from './acquisition-queue.ts';
import type { Caller } from './caller.ts';
import { PendingCreation } from './pending-creation.ts';
import { Sleeper } from './sleeper.ts';

export class Acquisition {
  readonly slots: number;
  readonly creation = new PendingCreation();
  readonly earlierTries: readonly object[];
  /** Whether it sleeps until the entries of earlier callers are created. */
  awaitsTurn = false;
  readonly #context: LockerContext;
  readonly #queue: AcquisitionQueue<Acquisition>;
  readonly #sleeper: Sleeper;
  #caller: Caller<LockHandle> | undefined;
  #entry: Entry | undefined;
  /** The entry whose session was renewed to hold it. */
  #renewedFor: Entry | undefined;
  #enqueued: Deferred<void> | undefined;
  #look: Promise<void> | undefined;
  /** How many steps in a row have failed. */
  #failures = 0;
  #isHeld = false;

  constructor(context: LockerContext, queue: AcquisitionQueue<Acquisition>, caller: Caller<LockHandle>, earlierTries: readonly object[]) {
    this.earlierTries = earlierTries;
    this.slots = caller.options.slots;
    this.#context = context;
    this.#queue = queue;
    this.#caller = caller;
    this.#sleeper = new Sleeper(context.clock);
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

  /** The entry, if it can be created now. */
  get creatable(): EntryToCreate | undefined {
    const entry = this.#entry;
    const { request, old, maxOperations } = this.creation;
    const isReady = this.#caller !== undefined && request === undefined && entry?.kind === 'new' && !entry.session.isSealed;
    return isReady ? { entry, old, maxOperations } : undefined;
  }

  /** Whether later callers must wait with their creations until this entry is created. */
  get delaysLater(): boolean {
    if (this.#caller === undefined || this.#isHeld) return false;
    const isInQueue = this.#entry?.kind === 'queued' || this.#entry?.kind === 'held';
    // A caller that lost its entry tries again for as long as it takes. Nobody waits for that after a failure.
    return !isInQueue && (this.isUnqueued || this.#failures === 0);
  }

  get queuedEntry(): Entry | undefined {
    return this.#entry?.kind === 'queued' ? this.#entry : undefined;
  }

  /** The queued entry, if it needs a look that is not under way. */
  get lookable(): Entry | undefined {
    return this.#look === undefined && this.#entry?.needsLook === true ? this.queuedEntry : undefined;
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
    this.creation.forgetError();
  }

  wake(): void {
    this.#sleeper.wake();
  }

  /** Starts with an entry whose creation deletes the released entry `old`. */
  runHandOver(old: Entry, session: Session, caller: Caller<LockHandle>): void {
    this.creation.old = old;
    this.#entry = this.#newEntry(session, caller);
    // Other releases of this tick may join the transaction.
    queueMicrotask(() => void this.run());
  }

  async run(): Promise<void> {
    for (let caller = this.#currentCaller(); caller !== undefined; caller = this.#currentCaller()) {
      const startedAt = this.#context.clock.now();
      try {
        await this.#step(caller);
        this.#failures = 0;
      } catch (error) {
        if (!this.#isHeld) await this.#onFailure(caller, error, startedAt);
      }
      // An entry must not be abandoned while its creation is under way.
      if (this.creation.request !== undefined) await this.creation.request;
      if (this.#isHeld) return;
    }
    this.#abandonEntry();
    this.#enqueued?.resolve();
    this.#queue.onEnded(this);
  }

  async #onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): Promise<void> {
    this.#queue.onFailure(caller, error, startedAt);
    // The entry is unsettled now. Settling it is the next step, without a pause.
    if (error instanceof OutcomeUnknownError && this.#queue.timeLeftMs(caller) > 1) return;
    this.#failures += 1;
    if (!this.delaysLater) this.#queue.onTurnOver();
    if (caller.isWaiting && this.#entry?.kind !== 'gone') await this.#sleeper.sleep(backoffMs(this.#failures, { firstMs: 25 }));
  }

  #currentCaller(): Caller<LockHandle> | undefined {
    if (this.#caller === undefined) this.#queue.inheritNextCaller(this);
    return this.#caller;
  }

  /** Takes one step towards the lock. */
  async #step(caller: Caller<LockHandle>): Promise<void> {
    const entry = this.#entry;
    this.creation.throwError();
    if (entry === undefined) {
      const { sessions } = this.#context;
      const session = sessions.enterAtOnce(caller.options) ?? (await sessions.enter(caller.options, this.#queue.timeLeftMs(caller)));
      this.#queue.onResponse();
      this.#entry = this.#newEntry(session, caller);
    } else if (entry.kind === 'gone' || entry.session.isSealed || !entry.session.suits(caller.options)) {
      this.#abandonEntry();
    } else if (entry.kind === 'new') {
      await this.#create();
    } else if (entry.kind === 'unsettled') {
      const refusal = await entry.settle(this.#queue.timeLeftMs(caller));
      this.#queue.onResponse();
      this.#queue.onTurnOver();
      if (refusal !== undefined) throw refusal;
    } else {
      await this.#stepInQueue(entry, caller);
    }
  }

  async #stepInQueue(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    this.#markEnqueued();
    if (!entry.hasValue(caller.options.value)) {
      await this.#writeValue(entry, caller);
    } else if (entry.needsLook) {
      await (this.#look ?? this.#queue.look(this));
    } else if (!entry.isAdmitted) {
      this.#renewedFor = undefined;
      entry.watchPredecessors();
      await this.#sleeper.sleep();
    } else if (this.#hasTimeToHold(entry, caller)) {
      this.#queue.grant();
    } else {
      // A look before the renewal may be old, so it is repeated. That happens once: otherwise, with slow looks, the deadline would
      // come too near during each look, and renewals and looks would alternate for ever.
      if (this.#renewedFor !== entry) entry.forgetLook();
      await this.#context.heartbeat.beat(entry.session);
      this.#renewedFor = entry;
    }
  }

  #markEnqueued(): void {
    if (!this.isUnqueued || this.#caller === undefined) return;
    this.#caller.wasEnqueued = true;
    this.#enqueued?.resolve();
  }

  // The value of the caller before must not stay. If etcd refuses the new one, the caller gives the entry to the next caller.
  async #writeValue(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    try {
      await entry.setValue(caller.options.value);
    } catch (error) {
      if (!(error instanceof EtcdRefusedError || error instanceof EtcdAuthError)) throw error;
      caller.reject(error);
    }
  }

  /** Whether enough of the TTL is left. A lock with a private lease starts with nearly all of it. */
  #hasTimeToHold(entry: Entry, { options }: Caller<LockHandle>): boolean {
    const { isWellAhead, isFresh } = entry.session;
    return isWellAhead && (options.lease === undefined || isFresh || this.#renewedFor === entry);
  }

  /** Gives the caller its lock, if nothing is missing. */
  holdIfReady(): void {
    const caller = this.#caller;
    const entry = this.queuedEntry;
    if (caller === undefined || entry === undefined || !entry.isAdmitted || entry.needsLook || !entry.hasValue(caller.options.value))
      return;
    if (entry.session.isSealed || !entry.session.suits(caller.options) || !this.#hasTimeToHold(entry, caller)) return;
    this.#markEnqueued();
    this.#isHeld = true;
    this.#queue.onAdmitted(this, entry, caller);
    this.wake();
  }

  async #create(): Promise<void> {
    this.#queue.create(this);
    const { request } = this.creation;
    if (request !== undefined) {
      await request;
      this.creation.throwError();
    } else {
      // An earlier caller has no entry yet. Its request may take this one along. A release does not wait for that.
      this.creation.releaseOld();
      this.awaitsTurn = true;
      await this.#sleeper.sleep();
      this.awaitsTurn = false;
    }
  }

  /** Takes in that a request creates the entry. It ends with `onCreation` or `onCreationFailure`. */
  startCreation(creation: Promise<void>): void {
    this.creation.start(creation);
    this.#sleeper.interrupt();
  }

  onCreation(outcome: CreationOutcome): void {
    this.creation.end();
    this.#queue.onResponse();
    if (outcome === 'created') {
      this.creation.confirmOldReleased();
      this.#markEnqueued();
    } else if (outcome === 'not-created') {
      if (this.creation.old === undefined) this.#abandonEntry();
      else this.creation.releaseOld();
    }
  }

  onCreationFailure(error: unknown): void {
    const isHandOver = this.creation.old !== undefined;
    this.creation.releaseOld();
    if (error instanceof LeaseNotFoundError) this.#entry?.session.end('expired');
    const isOwn = !(error instanceof LeaseNotFoundError) && (!isHandOver || error instanceof OutcomeUnknownError);
    this.creation.end(isOwn ? error : undefined);
  }

  /** Takes in that a request looks for the entry, until it settles. */
  startLook(look: Promise<void>): void {
    const end = (): void => {
      this.#look = undefined;
    };
    this.#look = look;
    look.then(end, end);
    this.#sleeper.interrupt();
  }

  #abandonEntry(): void {
    this.creation.releaseOld();
    this.#entry?.abandon();
    this.#entry = undefined;
  }

  #newEntry(session: Session, { options }: Caller<LockHandle>): Entry {
    return new Entry(this.#context, this.#queue.range, session, options, this.#sleeper.wake);
  }
}
