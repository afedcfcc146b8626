/** The local queues of one locker: one for each name that a caller of this process waits for or holds. */
import { addMs, type Instant, msUntil, waitAtMost } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import type { Entry } from '../entry/entry.ts';
import { EtcdUnavailableError, isFinal, LockTimeoutError } from '../errors.ts';
import { queueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Head } from '../states/state.ts';
import { quote } from '../text.ts';
import { Caller, type HoldingCaller } from './caller.ts';
import { describeMismatch, HeadReads, leadMs } from './head-reads.ts';
import { KeptEntries } from './kept-entries.ts';
import { KeptShares } from './kept-shares.ts';
import { LocalQueue } from './local-queue.ts';
import type { Occupancy } from './occupancy.ts';
import { type Outage, toUnavailable } from './outage.ts';
import type { QueueOwner } from './queue-owner.ts';
import { tryAcquire } from './try-acquire.ts';
import { WaitLog } from './wait-log.ts';

type TryCaller = Caller<LockHandle[] | null>;

/** What a call that takes its locks one after another knows as a whole. */
export interface WholeCall {
  /** The `timeoutMs` that an error reports. */
  readonly timeoutMs: number | undefined;
  /** Whether a name of the call was busy. */
  wasBusy: boolean;
  /** Whether the call resolves with null if the name is busy. Then no error needs the holder's value. */
  readonly isTry: boolean;
}

export class LocalQueues implements QueueOwner {
  readonly #context: LockerContext;
  readonly kept: KeptEntries;
  readonly #headReads: HeadReads;
  readonly #waitLog: WaitLog;
  readonly #queues = new Map<string, LocalQueue>();
  /** The tries that are under way. */
  readonly #tries = new Set<TryCaller>();
  #closed: { readonly reason: Error } | undefined;
  #noneHeld: Deferred<void> | undefined;

  constructor(context: LockerContext) {
    this.#context = context;
    this.kept = new KeptEntries(context);
    this.#headReads = new HeadReads(context);
    this.#waitLog = new WaitLog(context);
  }

  /**
   * Waits for the lock for `options.timeoutMs`.
   * @throws {LockTimeoutError} the time is up, and the name is known to be busy
   * @throws {EtcdUnavailableError} the time is up, and etcd has not said that the name is busy
   */
  async lock(name: string, options: ResolvedLockOptions, whole = wholeCall(options)): Promise<LockHandle> {
    this.#throwIfClosed();
    const { timeoutMs } = options;
    if (timeoutMs === 0) {
      const locks = await this.tryLock([name], options);
      if (locks?.[0] !== undefined) return locks[0];
      throw await this.#toTimeout(name, options, whole);
    }
    const kept = this.#queues.get(name)?.keeper?.takeNow({ options, joinedAt: this.#context.clock.now() });
    if (kept !== undefined) return kept;
    const queue = this.#queueOf(name);
    const end = (caller: Caller<LockHandle>): Error | Promise<Error> => {
      if (queue.isBusyFor(caller)) whole.wasBusy = true;
      return whole.wasBusy ? this.#toTimeout(name, options, whole, queue.outage) : this.#toUnavailable(name, whole, queue.outage);
    };
    const aheadMs = Math.min(leadMs, (timeoutMs ?? 0) / 2);
    const prepare = (caller: Caller<LockHandle>): void => {
      const isOfUse = !whole.isTry && queue.isBusyFor(caller) && queue.outage.silence()?.isOutage !== true;
      if (isOfUse) this.#headReads.prepare(name, aheadMs);
    };
    const caller = new Caller<LockHandle>(this.#context.clock, options, { leadMs: aheadMs, prepare, end });
    this.#waitLog.add(queue, caller);
    queue.join(caller);
    const lock = await caller.promise;
    if (caller.knowsBusy) whole.wasBusy = true;
    return lock;
  }

  /** Returns the error of a call whose time is up, and whose name is busy. A call that does not wait has no `outage`. */
  #toTimeout(name: string, { slots }: ResolvedLockOptions, whole: WholeCall, outage?: Outage): Error | Promise<Error> {
    const timeoutMs = whole.timeoutMs ?? 0;
    const silence = outage?.silence();
    if (silence?.isOutage === true) {
      const cause = new EtcdUnavailableError(Math.round(silence.forMs), silence.hosts);
      this.#context.outageLog.warn(`still waiting for lock ${quote(name)} when its time is up: ${String(cause)}`);
      return new LockTimeoutError(name, timeoutMs, undefined, { cause });
    }
    const toError = (head: Head | undefined): Error =>
      new LockTimeoutError(name, timeoutMs, head?.value, { mismatch: describeMismatch(head, slots) });
    if (whole.isTry) return toError(undefined);
    const head = this.#headReads.read(name, outage !== undefined);
    return head instanceof Promise ? head.then(toError) : toError(head);
  }

  /** Returns the error of a call whose time is up, and of which etcd has not said that the name is busy. */
  #toUnavailable(name: string, { timeoutMs = 0 }: WholeCall, outage: Outage): Error {
    const error = outage.toError(Math.min(timeoutMs, this.#context.requestTimeoutMs));
    this.#context.outageLog.warn(`cannot ask for lock ${quote(name)}: ${String(error)}`);
    return error;
  }

  /**
   * Takes all the locks at once, or returns null.
   * @throws {EtcdUnavailableError} etcd did not respond within `requestTimeoutMs`
   */
  async tryLock(names: readonly string[], options: ResolvedLockOptions): Promise<LockHandle[] | null> {
    if (this.#checkOccupancy(names, options.slots).includes('busy')) return null;
    const shares = this.#reserveKept(names, options);
    if (shares.size < names.length || !shares.haveValue(options.value)) return this.#start(names, options, false, shares);
    return this.#hold(names, { options, joinedAt: this.#context.clock.now() }, shares, []);
  }

  #reserveKept(names: readonly string[], options: ResolvedLockOptions): KeptShares {
    return new KeptShares(names, (name) => this.#queues.get(name)?.keeper, options);
  }

  /** Holds the kept entries of the call, and `entries` for its other names, in the order of the names. */
  #hold(names: readonly string[], caller: HoldingCaller, shares: KeptShares, entries: readonly Entry[]): LockHandle[] {
    const others = [...entries];
    return names.flatMap((name) => {
      const entry = shares.entryOf(name) ?? others.shift();
      return entry === undefined ? [] : [this.#queueOf(name).hold(entry, caller)];
    });
  }

  #checkOccupancy(names: readonly string[], slots: number): readonly Occupancy[] {
    return names.map((name) => this.#queues.get(name)?.checkOccupancy(slots) ?? 'free');
  }

  /** Takes the lock from its holders, ahead of all waiters: one step deletes their entries and creates this one. */
  async steal(name: string, options: ResolvedLockOptions): Promise<LockHandle> {
    const [lock] = (await this.#start([name], options, true)) ?? [];
    if (lock === undefined) throw new TypeError(`Cannot steal lock ${JSON.stringify(name)}: the try ended without it`);
    return lock;
  }

  async #start(
    names: readonly string[],
    options: ResolvedLockOptions,
    steals: boolean,
    shares = this.#reserveKept([], options),
  ): Promise<LockHandle[] | null> {
    this.#throwIfClosed();
    const caller = new Caller<LockHandle[] | null>(this.#context.clock, options);
    void this.#try(names, caller, steals, shares);
    return caller.promise;
  }

  async #try(names: readonly string[], caller: TryCaller, steals: boolean, shares: KeptShares): Promise<void> {
    const { options } = caller;
    const { clock, outageLog, requestTimeoutMs } = this.#context;
    const until = addMs(clock.now(), requestTimeoutMs);
    let present = shares;
    const endTry = (): void => {
      present.putBack();
      for (const name of names) this.#queues.get(name)?.endTry(caller);
    };
    this.#tries.add(caller);
    try {
      // A thief waits for nobody, and nobody for a thief. Without an await if possible: the first caller is the first in etcd.
      if (!steals) for (const name of names) this.#queueOf(name).beginTry(caller);
      caller.onEndWithoutLock(endTry);
      const turn = steals ? undefined : this.#whenTurn(names, options.slots);
      const resolveIfBusy = (isBusy: boolean): void => {
        if (isBusy) caller.resolve(null);
      };
      if (turn !== undefined) await waitAtMost(clock, requestTimeoutMs, turn.then(resolveIfBusy));
      while (caller.isWaiting && !(await this.#tryWith(present, names, caller, until, steals))) {
        present.putBack();
        present = this.#reserveKept(names, options);
      }
    } catch (error) {
      if (error instanceof EtcdUnavailableError && !isFinal(error)) {
        const unavailable = toUnavailable(this.#context, requestTimeoutMs, error.hosts);
        outageLog.warn(`cannot ask for lock ${names.map(quote).join(', ')}: ${String(unavailable)}`);
        caller.reject(unavailable);
      } else {
        caller.reject(error);
      }
    } finally {
      this.#tries.delete(caller);
      endTry();
    }
  }

  /** Takes the names that the call has no kept entry of. Returns false if a kept entry was lost meanwhile: nothing is taken then. */
  async #tryWith(shares: KeptShares, names: readonly string[], caller: TryCaller, until: Instant, steals: boolean): Promise<boolean> {
    const { clock, prefix, requestTimeoutMs } = this.#context;
    const others = names.filter((name) => shares.entryOf(name) === undefined);
    // The own entry would make the name busy for this very call.
    const deletion = steals ? undefined : this.kept.whenDeleted(others);
    const { value } = caller.options;
    if (deletion !== undefined || !shares.haveValue(value)) {
      await waitAtMost(clock, msUntil(until, clock.now()), Promise.all([deletion, shares.write(value)]));
      if (msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, []);
    }
    let released: Promise<unknown> | undefined;
    const onAcquired = (entries: readonly Entry[]): boolean => {
      if (!shares.areSafe) {
        for (const entry of entries) entry.release();
        released = Promise.allSettled(entries.map((entry) => entry.whenReleased()));
        return false;
      }
      if (steals) entries.forEach((entry, index) => this.#queues.get(names[index] ?? '')?.onSteal(entry.token));
      caller.resolve(this.#hold(names, caller, shares, entries));
      return true;
    };
    const queues = others.map((name) => queueRange(prefix, name));
    if (queues.length === 0) return !caller.isWaiting || onAcquired([]);
    const isAcquired = await tryAcquire({ context: this.#context, queues, caller, until, onAcquired, steals });
    if (released !== undefined) {
      await waitAtMost(clock, msUntil(until, clock.now()), released);
      return false;
    }
    if (!isAcquired) caller.resolve(null);
    return true;
  }

  /** Resolves once the entries of earlier callers are created: whether a name is busy. Undefined if there are no such callers. */
  #whenTurn(names: readonly string[], slots: number): Promise<boolean> | undefined {
    const queues = names.flatMap((name) => this.#queues.get(name) ?? []).filter(({ hasUnqueued }) => hasUnqueued);
    return queues.length === 0
      ? undefined
      : Promise.all(queues.map((queue) => queue.whenDecided(slots))).then((busy) => busy.includes(true));
  }

  /** Resolves once etcd has the entry of each caller of that name, or of all names, or the caller has given up. */
  async whenEnqueued(name?: string): Promise<void> {
    const queues = name === undefined ? [...this.#queues.values()] : [this.#queues.get(name)];
    await Promise.all(queues.map(async (queue) => queue?.whenEnqueued()));
  }

  /** Returns the entries that are held in this process. */
  *heldEntries(): Generator<Pick<Entry, 'key' | 'token'>> {
    for (const queue of this.#queues.values()) yield* queue.heldEntries;
  }

  /** Returns the callers that wait in this process, name by name; without a key if the caller has no entry yet. */
  *waiters(): Generator<{ readonly name: string; readonly options: ResolvedLockOptions; readonly key: string | undefined }> {
    for (const queue of this.#queues.values()) {
      for (const { caller, key } of queue.waiters()) yield { name: queue.name, options: caller.options, key };
    }
  }

  /** Returns the callers that wait for one name in this process. */
  *waitersOf(name: string): Generator<{ readonly key: string | undefined }> {
    yield* this.#queues.get(name)?.waiters() ?? [];
  }

  #queueOf(name: string): LocalQueue {
    const found = this.#queues.get(name);
    if (found !== undefined) return found;
    const queue = new LocalQueue(this.#context, name, this);
    this.#queues.set(name, queue);
    return queue;
  }

  onEmpty(queue: { readonly name: string }): void {
    if (this.#queues.get(queue.name) === queue) this.#queues.delete(queue.name);
  }

  onHolderGone(): void {
    if (this.#noneHeld !== undefined && this.heldEntries().next().done === true) this.#noneHeld.resolve();
  }

  /** Resolves once no lock is held. */
  whenNoneHeld(): Promise<void> {
    this.#noneHeld ??= deferred();
    this.onHolderGone();
    return this.#noneHeld.promise;
  }

  // A call for several names takes its next name later.
  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed.reason;
  }

  /** Rejects all callers that wait, and all later ones. In a drain, gives back what is kept: otherwise the leases end at once. */
  close(reason: Error, isDraining: boolean): void {
    this.#closed = { reason };
    this.kept.close(isDraining);
    for (const queue of [...this.#queues.values()]) queue.rejectAll(reason);
    for (const caller of [...this.#tries]) caller.reject(reason);
    this.#headReads.close();
    this.#waitLog.close();
  }
}

const wholeCall = ({ timeoutMs }: ResolvedLockOptions): WholeCall => ({ timeoutMs, wasBusy: false, isTry: false });
