/**
 * An acquisition: the way of one caller from a session to a held lock.
 *
 *     no entry ──session──▶ new ──creation──▶ queued ──value written, look──▶ admitted ──deadline well ahead──▶ held
 *        ▲                   │                 │  ▲                              │
 *        │                   │                 │  └── a predecessor is deleted   └── renew first
 *        └───────────────────┴─────────────────┴── the entry is gone, or its session is sealed
 *
 * One loop takes step after step, and asks before each step which caller it serves. If a caller stops waiting, the next caller may
 * inherit the entry. No failed step ends the loop. The local queue decides which callers reject, and sends creations and looks together.
 */
import { backoffMs } from '../backoff.ts';
import type { Instant } from '../clock.ts';
import type { CreationOutcome, EntryToCreate } from '../entry/creation.ts';
import { Entry } from '../entry/entry.ts';
import type { EntryOwner } from '../entry/predecessors.ts';
import { EtcdAuthError, EtcdRefusedError, LeaseNotFoundError, OutcomeUnknownError } from '../errors.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';
import type { WatchEvent } from '../store/store.ts';
import type { AcquisitionQueue } from './acquisition-queue.ts';
import type { Caller } from './caller.ts';
import { HoldTime } from './hold-time.ts';
import { PendingCreation } from './pending-creation.ts';
import { shareDeletions } from './shared-deletions.ts';
import { Sleeper } from './sleeper.ts';

export class Acquisition implements EntryOwner {
  readonly slots: number;
  readonly creation: PendingCreation;
  /** Whether it has ended, with or without a lock. */
  isOver = false;
  readonly wake: () => void;
  readonly #context: LockerContext;
  readonly #queue: AcquisitionQueue<Acquisition>;
  readonly #sleeper: Sleeper;
  readonly #holdTime = new HoldTime();
  #caller: Caller<LockHandle> | undefined;
  #entry: Entry | undefined;
  /** The entry that etcd reported an obstacle of. */
  #obstructed: Entry | undefined;
  #look: Promise<void> | undefined;
  /** How many steps in a row have failed. */
  #failures = 0;
  #isHeld = false;
  /** Whether it sleeps until an obstacle is gone. */
  #isParked = false;

  constructor(context: LockerContext, queue: AcquisitionQueue<Acquisition>, caller: Caller<LockHandle>, earlierTries: readonly object[]) {
    this.creation = new PendingCreation(earlierTries);
    this.slots = caller.options.slots;
    this.#context = context;
    this.#queue = queue;
    this.#caller = caller;
    this.#sleeper = new Sleeper(context.clock);
    this.wake = this.#sleeper.wake;
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

  /** Whether its entry was seen behind an obstacle, and nothing since says otherwise. All later callers are behind that, too. */
  get isObstructed(): boolean {
    return this.#obstructed === this.#entry && this.#entry?.predecessors?.hasObstacle === true;
  }

  /** The entry, if it can be created now. */
  get creatable(): EntryToCreate | undefined {
    const [entry, { request, old, maxOperations }] = [this.#entry, this.creation];
    if (this.#caller === undefined || request !== undefined || entry?.kind !== 'new') return undefined;
    return entry.session.isSealed ? undefined : { entry, old, maxOperations };
  }

  /** Whether later callers must wait with their creations until this entry is created. */
  get delaysLater(): boolean {
    if (this.#caller === undefined || this.#isHeld) return false;
    const session = this.queuedEntry?.session;
    // An inherited entry whose session does not suit the caller is about to be deleted, and the caller gets another one.
    const isInQueue = session?.isSealed === false && session.suits(this.#caller.options);
    // A caller that lost its entry tries again for as long as it takes. Nobody waits for that after a failure.
    return !isInQueue && (this.isUnqueued || this.#failures === 0);
  }

  get queuedEntry(): Entry | undefined {
    return this.#entry?.kind === 'queued' ? this.#entry : undefined;
  }

  /** The entry, if it needs a look that is not under way. */
  get lookable(): Entry | undefined {
    return this.#look === undefined && this.#entry?.needsLook === true ? this.queuedEntry : undefined;
  }

  /** Resolves once etcd has the entry, or the acquisition has ended. */
  whenEnqueued(): Promise<void> {
    return this.isUnqueued ? this.creation.whenEnqueued() : Promise.resolve();
  }

  onSteal(token: bigint): void {
    this.#entry?.onSteal(token);
  }

  /** Takes in that the caller gave up. */
  removeCaller(): void {
    this.#caller = undefined;
    // Without a step if possible: thousands of callers may give up in one tick, and inherit the entry from each other.
    const next = this.#isParked && !this.#sleeper.isWoken ? this.#currentCaller() : undefined;
    const isAsWanted = next !== undefined && this.#entry?.hasValue(next.options.value) === true && this.#entry.session.suits(next.options);
    if (isAsWanted) this.#markEnqueued();
    else this.wake();
  }

  setCaller(caller: Caller<LockHandle>): void {
    this.#caller = caller;
    if (this.isObstructed) caller.knowsBusy = true;
    this.creation.forgetError();
  }

  /** Starts with an entry whose creation deletes the released entry `old`. */
  runHandOver(old: Entry, session: Session, caller: Caller<LockHandle>): void {
    this.creation.old = old;
    this.#entry = new Entry(this.#context, this.#queue.range, session, caller.options, this);
    // Other releases of this tick may join the transaction.
    void Promise.resolve().then(() => this.run());
  }

  async run(): Promise<void> {
    for (;;) {
      // An entry must not be abandoned while its creation is under way. The request of another acquisition may have taken it along.
      if (this.creation.request !== undefined) await this.creation.request;
      if (this.#isHeld) return;
      const caller = this.#currentCaller();
      if (caller === undefined) break;
      const startedAt = this.#context.clock.now();
      try {
        await this.#step(caller);
        this.#failures = 0;
      } catch (error) {
        await this.#onFailure(caller, error, startedAt);
      }
    }
    this.#abandonEntry();
    this.creation.notifyEnqueued();
    this.#queue.onEnded(this);
  }

  async #onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): Promise<void> {
    if (this.#isHeld) return;
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

  async #step(caller: Caller<LockHandle>): Promise<void> {
    const entry = this.#entry;
    if (entry?.session.refusal !== undefined) throw entry.session.refusal;
    this.creation.throwError();
    if (entry === undefined) {
      const { sessions } = this.#context;
      const session = sessions.enterAtOnce(caller.options) ?? (await sessions.enter(caller.options, this.#queue.timeLeftMs(caller)));
      this.#queue.outage.onResponse();
      this.#entry = new Entry(this.#context, this.#queue.range, session, caller.options, this);
    } else if (entry.kind === 'gone' || entry.kind === 'releasing' || entry.session.isSealed || !entry.session.suits(caller.options)) {
      this.#abandonEntry();
    } else if (entry.kind === 'new') {
      await this.#create(entry);
    } else if (entry.kind === 'unsettled') {
      const refusal = await entry.settle(this.#queue.timeLeftMs(caller));
      this.#queue.outage.onResponse();
      this.#queue.onTurnOver();
      if (refusal !== undefined) throw refusal;
    } else {
      await this.#stepInQueue(entry, caller);
    }
  }

  async #stepInQueue(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    this.#markEnqueued();
    this.creation.releaseOld();
    if (!entry.hasValue(caller.options.value)) {
      await this.#writeValue(entry, caller);
    } else if (entry.needsLook) {
      await (this.#look ?? this.#queue.look(this));
    } else if (!entry.isAdmitted) {
      this.#holdTime.forget();
      await this.#park(entry, caller);
    } else if (this.#holdTime.isEnough(entry, caller.options)) {
      this.#queue.grant();
    } else {
      await this.#holdTime.renew(entry, this.#context, () => this.#queue.look(this));
    }
  }

  async #park(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    caller.knowsBusy = true;
    if (!this.isObstructed) this.#queue.onObstructed();
    this.#obstructed = entry;
    entry.predecessors?.watch();
    this.#isParked = true;
    await this.#sleeper.sleep();
    this.#isParked = false;
    this.creation.resetCount();
  }

  #markEnqueued(): void {
    if (this.#caller === undefined || !this.isUnqueued) return;
    this.#caller.wasEnqueued = true;
    this.creation.notifyEnqueued();
  }

  // The value of the caller before must not stay. If etcd refuses the new one, the caller gives the entry to the next caller.
  async #writeValue(entry: Entry, caller: Caller<LockHandle>): Promise<void> {
    await entry.setValue(caller.options.value).catch((error: unknown) => {
      if (!(error instanceof EtcdRefusedError || error instanceof EtcdAuthError)) throw error;
      caller.reject(error);
    });
  }

  /** Gives the caller its lock, if nothing is missing. */
  holdIfReady(): void {
    const [caller, entry] = [this.#caller, this.queuedEntry];
    if (caller === undefined || entry === undefined || !this.#holdTime.canHold(entry, caller.options)) return;
    this.#markEnqueued();
    this.#isHeld = true;
    this.#queue.onAdmitted(this, entry, caller);
    this.wake();
  }

  async #create(entry: Entry): Promise<void> {
    if (this.creation.pauseMs > 0) await this.#sleeper.sleep(this.creation.pauseMs);
    if (this.#caller === undefined || entry.kind !== 'new' || entry.session.isSealed) return;
    this.#queue.create(this);
    await (this.creation.request ?? this.creation.waitForTurn(this.#sleeper));
    this.creation.throwError();
  }

  /** Takes in that a request creates the entry. It ends with `onCreation` or `onCreationFailure`. */
  startCreation(creation: Promise<void>): void {
    this.creation.start(creation);
    this.#sleeper.interrupt();
  }

  onCreation(outcome: CreationOutcome): void {
    this.creation.end();
    this.#queue.outage.onResponse();
    if (outcome === 'created') {
      this.creation.confirmOldReleased(this.#entry?.isAdmitted === true);
      this.#markEnqueued();
    } else if (outcome === 'not-created' && !this.creation.releaseOld()) {
      this.#abandonEntry();
    }
  }

  onCreationFailure(error: unknown): void {
    this.creation.fail(error);
    if (error instanceof LeaseNotFoundError) this.#entry?.session.end('expired');
  }

  /** Takes in that a request looks for the entry, until it settles. */
  startLook(look: Promise<void>): void {
    this.#look = look;
    look.finally(() => (this.#look = undefined)).catch(() => undefined);
    this.#sleeper.interrupt();
  }

  #abandonEntry(): void {
    this.creation.releaseOld();
    this.#entry?.abandon();
    this.#entry = undefined;
    this.#sleeper.forget();
  }

  onEntryChange(): void {
    // A deletion may admit the entry while the loop awaits a look. Earlier ones that it admitted too come first.
    if (this.#look !== undefined) this.#queue.grant();
    this.wake();
  }

  shareDeletions(events: readonly WatchEvent[]): void {
    shareDeletions(events, this.#queue.acquisitions, this.slots);
  }
}
