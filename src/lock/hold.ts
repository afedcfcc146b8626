/**
 * A held lock as the library sees it. The user has a handle of it, `LockHandle`.
 *
 * A loss has two phases. First the lock counts as lost, without a call of user code. Then its signal aborts: in a microtask, or at once
 * when the user reads the handle. So no listener runs in the middle of a step of the library.
 *
 * A handle that the user drops without a release is collected by the garbage collector, and the lock is released then. So no part of the
 * library may keep the handle, except this file: until the first tick of the heartbeat, which spares short holds the cost; while somebody
 * listens to its signal; and while `withLock()` or a callback runs. docs/decisions/025 has the reasons.
 */
import { addMs, type Instant, keepAlive, msUntil } from '../clock.ts';
import { type Context, silentLogger } from '../context.ts';
import type { ContenderWatch } from '../entry/contender-watch.ts';
import type { Entry } from '../entry/entry.ts';
import type { Holder } from '../entry/loss-notice.ts';
import { MinimumHold } from '../entry/minimum-hold.ts';
import { LockLostError, type LossReason } from '../errors.ts';
import { modeOf } from '../kind.ts';
import { runInMicrotask } from '../microtask.ts';
import type { Store } from '../store/store.ts';
import { channels, publishLater } from '../telemetry/channels.ts';
import type { LockMessage, ReleasedMessage } from '../telemetry/messages.ts';
import { quote } from '../text.ts';
import { turnIfLong } from '../turn.ts';
import { Contention, type LocalCallers } from './contention.ts';
import { unreachable } from './unreachable.ts';

const ignore = (): void => undefined;

/** The part of a handle that its hold uses. */
interface Handle {
  /** Whether somebody listens to one of its signals. */
  isListenedTo(): boolean;
  onLoss(error: LockLostError): void;
  /** Somebody waits for the lock. */
  onWanted(): void;
}

export class Hold implements Holder {
  readonly name: string;
  readonly entry: Entry;
  readonly context: Context;
  /**
   * Keeps the entry in etcd for the next hold, with the watch of this one if it has one. Returns false if a release has to delete the
   * entry. Undefined if locks are not kept.
   */
  keepEntry: ((watch: ContenderWatch | undefined) => boolean) | undefined;
  readonly #queue: LocalCallers;
  readonly #releaseEntry: () => Promise<void>;
  readonly #onEntryLost: () => void;
  /** When the hold began. Undefined if nobody wanted to know. */
  readonly #heldSinceMs: number | undefined;
  #lost: LockLostError | undefined;
  /** Whether the entry no longer is that of this hold. It may be that of the next one. */
  #isOver = false;
  /** The value at a release that may have kept the entry. */
  #lastValue: string | undefined;
  #released: Promise<void> | undefined;
  #maxHold: { readonly until: Instant; readonly cancel: () => void } | undefined;
  #onLost: (error: LockLostError) => void = ignore;
  #handle: Handle | undefined;
  /** The handle, once the garbage collector may take it. */
  #weakHandle: WeakRef<Handle> | undefined;
  #isPinned = false;
  /** Undefined before somebody wants to know. */
  #contention: Contention | undefined;

  /**
   * Holds an admitted entry of `queue`, of a caller that asked for it at `askedAt`. `releaseEntry` is called at most once, and never
   * after a loss of the entry, which calls `onEntryLost`.
   */
  constructor(
    context: Context,
    queue: LocalCallers & { readonly name: string },
    entry: Entry,
    askedAt: Instant,
    releaseEntry: () => Promise<void>,
    onEntryLost: () => void,
  ) {
    this.name = queue.name;
    this.#queue = queue;
    this.context = context;
    this.entry = entry;
    this.#releaseEntry = releaseEntry;
    this.#onEntryLost = onEntryLost;
    entry.hold(this);
    entry.session.occupy();
    if (this.isLogging || channels.held.hasSubscribers || channels.released.hasSubscribers || channels.lost.hasSubscribers) {
      this.#heldSinceMs = context.clock.now().monotonicMs;
      this.#onHeld(this.#heldSinceMs - askedAt.monotonicMs);
    }
  }

  get isLogging(): boolean {
    return this.context.logger !== silentLogger;
  }

  /** The error of the loss. Undefined if the lock is held or was released. */
  get lost(): LockLostError | undefined {
    return this.#lost;
  }

  get isHeld(): boolean {
    return !this.#isOver && this.entry.isHeld;
  }

  get value(): string {
    return this.#lastValue ?? this.entry.value;
  }

  get remainingMs(): number {
    const { remainingMs } = this.entry.session;
    return this.#maxHold === undefined ? remainingMs : Math.min(remainingMs, msUntil(this.#maxHold.until, this.context.clock.now()));
  }

  /** Takes in the handle, and keeps it at least until the next tick. */
  keep(handle: Handle): void {
    this.#handle = handle;
  }

  /** Keeps the handle until the lock is released or lost: a function of the library or a callback uses the lock. */
  pin(): void {
    this.#isPinned = true;
  }

  /** Reads the clocks for a reader of the handle. A lock whose time is up is lost now, and its signal aborts now. */
  checkHeld(): boolean {
    this.entry.session.checkOpen();
    this.entry.notifyLoss();
    // A timer is late after the process was stopped, and stands still while the machine sleeps.
    if (this.#maxHold !== undefined && msUntil(this.#maxHold.until, this.context.clock.now()) <= 0) this.lose('max-hold');
    this.#notify();
    return this.isHeld;
  }

  release(): Promise<void> {
    return (this.#released ??= this.#release());
  }

  #release(): Promise<void> {
    return this.checkHeld() ? this.#endHold('release') : Promise.resolve();
  }

  /** Whether somebody is known to wait for the lock. The handle learns of it later, if the hold goes on. */
  checkWanted(): boolean {
    this.#contention ??= new Contention(this.context, this.entry, this.#queue, () => {
      // The process may have been frozen since. Then the user hears of the loss alone.
      if (this.checkHeld()) this.#reachableHandle?.onWanted();
    });
    return this.#contention.isWanted;
  }

  /** The garbage collector has taken the handle. */
  onUnreachable(): void {
    if (!this.isHeld) return;
    const { logger } = this.context;
    const message =
      `lock ${quote(this.name)} (token ${String(this.entry.token)}) was dropped without a release, so it is released now; ` +
      'keep its handle for as long as the lock is needed, or use withLock()';
    if (this.isLogging) logger.warn(`etcd-locker: ${message}`);
    else process.emitWarning(message, { type: 'EtcdLockerWarning', code: 'ETCD_LOCKER_UNRELEASED' });
    this.#endHold('garbage-collected').catch((error: unknown) => {
      logger.warn(`etcd-locker: ${String(error)}`);
    });
  }

  #endHold(cause: ReleasedMessage['cause']): Promise<void> {
    this.#maxHold?.cancel();
    const mayKeep = this.keepEntry !== undefined && cause === 'release';
    const watch = mayKeep ? this.#contention?.takeWatch() : undefined;
    this.#contention?.stop();
    if (this.isLogging || channels.released.hasSubscribers) this.#onRelease(cause);
    this.#forgetHandle();
    if (mayKeep && this.#keep(watch)) return turnIfLong(this.context.clock) ?? Promise.resolve();
    return keepAlive(this.context.clock, this.#releaseEntry);
  }

  #keep(watch: ContenderWatch | undefined): boolean {
    // First of all: the next hold may begin in this step.
    this.#isOver = true;
    this.#lastValue = this.entry.value;
    return this.keepEntry?.(watch) === true;
  }

  /** Loses the lock after `maxHoldMs` from now. */
  limit(maxHoldMs: number): void {
    if (!this.isHeld) return;
    const cancel = this.context.clock.setTimer(maxHoldMs, () => {
      this.lose('max-hold');
    });
    this.#maxHold = { until: addMs(this.context.clock.now(), maxHoldMs), cancel };
  }

  /** From now on, a release within `minHoldMs` leaves the name taken until then. */
  require(minHoldMs: number): void {
    this.entry.minimumHold = new MinimumHold(this.context.clock, minHoldMs);
  }

  /** Notices a deletion by others as it happens, not with the next beat. Returns the function that ends the watch. */
  watchDeletion(store: Store): () => void {
    const { entry } = this;
    const verify = (): void => {
      // The beat finds out what a failed read does not.
      entry.verify().catch(() => undefined);
    };
    const created = (revision: bigint): void => {
      if (revision > entry.token) verify();
    };
    return store.watch({ key: entry.key, deletesOnly: true }, { created, events: verify });
  }

  /** Releases the lock, and counts it as lost. */
  lose(reason: LossReason, cause?: Error): void {
    if (!this.isHeld) return;
    // If etcd refuses the delete, the entry ends with its lease.
    keepAlive(this.context.clock, this.#releaseEntry).catch(() => undefined);
    this.#markLost(reason, cause);
  }

  /** Calls `callback` when the lock is lost, or at once if it was. The callback must not call user code. */
  onLost(callback: (error: LockLostError) => void): void {
    if (this.#lost === undefined) this.#onLost = callback;
    else callback(this.#lost);
  }

  onEntryLost(reason: LossReason, cause?: Error): void {
    this.#onEntryLost();
    this.#markLost(reason, cause);
    this.#notify();
  }

  /** Lets the garbage collector take the handle, unless somebody still listens to its signal. */
  onTick(): void {
    if (this.#isPinned) return;
    const handle = this.#reachableHandle;
    if (handle === undefined) return;
    if (this.#weakHandle === undefined) {
      this.#weakHandle = new WeakRef(handle);
      unreachable().register(handle, this, this);
    }
    this.#handle = handle.isListenedTo() ? handle : undefined;
  }

  get #reachableHandle(): Handle | undefined {
    return this.#handle ?? this.#weakHandle?.deref();
  }

  #markLost(reason: LossReason, cause?: Error): void {
    this.#maxHold?.cancel();
    this.#contention?.stop();
    const error = new LockLostError(this.name, this.entry.token, reason, cause === undefined ? undefined : { cause });
    this.#lost = error;
    this.#onLost(error);
    if (channels.lost.hasSubscribers) publishLater(channels.lost, { ...this.#toMessage(), heldMs: this.#heldMs(), reason, error });
    // The end of a session with a cause has a line of its own, for all its locks. The user knows of the end of a locker.
    const isLogged = reason === 'closed' || (reason === 'expired' && cause !== undefined);
    if (!isLogged) this.context.logger.warn(`etcd-locker: ${String(error)}`);
    runInMicrotask(() => {
      this.#notify();
      this.#forgetHandle();
    });
  }

  #notify(): void {
    if (this.#lost !== undefined) this.#reachableHandle?.onLoss(this.#lost);
  }

  #forgetHandle(): void {
    if (this.#weakHandle !== undefined) unreachable().unregister(this);
    this.#handle = undefined;
  }

  #onHeld(waitMs: number): void {
    if (channels.held.hasSubscribers) publishLater(channels.held, { ...this.#toMessage(), waitMs });
    if (this.isLogging) this.#debug('acquired', waitMs);
  }

  #onRelease(cause: ReleasedMessage['cause']): void {
    const heldMs = this.#heldMs();
    if (channels.released.hasSubscribers) publishLater(channels.released, { ...this.#toMessage(), heldMs, cause });
    if (this.isLogging) this.#debug('released', heldMs ?? 0);
  }

  #toMessage(): LockMessage {
    const { name, entry } = this;
    const { slots, key, token, session } = entry;
    return { name, mode: modeOf(slots), slots, key, fencingToken: token, leaseId: session.leaseId };
  }

  #heldMs(): number | undefined {
    return this.#heldSinceMs === undefined ? undefined : this.context.clock.now().monotonicMs - this.#heldSinceMs;
  }

  #debug(what: string, ms: number): void {
    const { name, entry, context } = this;
    context.logger.debug(`etcd-locker: ${what} lock ${quote(name)} (token ${String(entry.token)}) after ${String(Math.round(ms))} ms`);
  }
}
