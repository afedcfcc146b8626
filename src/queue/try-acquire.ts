/**
 * The try that does not wait: one transaction creates the entries only if each of them is admitted at once.
 *
 * A compare over an empty range is true for `create == 0`. So "nobody is there" and "create the entry" are one step in etcd. If others
 * of the kind may hold too, the queue is read first, and the step compares that nobody has come since. Several names: all or none.
 */
import { backoffMs } from '../backoff.ts';
import { type Instant, msUntil, waitAtMost } from '../clock.ts';
import { findObstacle } from '../entry/admission.ts';
import { Entry } from '../entry/entry.ts';
import { buildClearing, buildCreationOfAll, buildDeletion, buildQueuesRead, type Creation, readEntry } from '../entry/transactions.ts';
import { EtcdUnavailableError, type HostFailure, LeaseNotFoundError, OutcomeUnknownError } from '../errors.ts';
import type { QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';
import type { Compare } from '../store/store.ts';
import type { Caller } from './caller.ts';
import { isWatched, renewAndLook } from './hold-time.ts';

/** After so many conflicts between the read and the creation, the entries are created like any others. */
const maxConflicts = 3;

export interface TryRequest {
  readonly context: LockerContext;
  readonly queues: readonly QueueRange[];
  readonly caller: Pick<Caller<unknown>, 'options' | 'isWaiting' | 'promise'>;
  /** When the try has to end. */
  readonly until: Instant;
  /** Called with an admitted entry for each queue, in the tick in which that is known. Returns whether the caller holds them. */
  readonly onAcquired: (entries: readonly Entry[]) => boolean;
  /** Deletes all other entries of the queues in the step that creates these, instead of giving up. */
  readonly steals: boolean;
}

/**
 * Returns whether the entries were acquired; false if a name is taken, or the caller no longer waits.
 * @throws {EtcdUnavailableError} etcd did not respond in time
 */
export function tryAcquire(request: TryRequest): Promise<boolean> {
  return new Try(request).run();
}

class Try {
  readonly #request: TryRequest;
  readonly #context: LockerContext;
  #hosts: readonly HostFailure[] = [];
  #conflicts = 0;
  #gateMoves = 0;
  #wasRenewed = false;

  constructor(request: TryRequest) {
    this.#request = request;
    this.#context = request.context;
  }

  async run(): Promise<boolean> {
    const { caller, queues } = this.#request;
    const { options } = caller;
    for (let rounds = 0; caller.isWaiting; rounds += 1) {
      // Another program may end each of the leases.
      if (rounds > 1) await this.#pause(backoffMs(rounds - 2, { firstMs: 25 }));
      const session = await this.#context.sessions.enter(options, this.#timeLeftMs(), queues.length);
      this.#wasRenewed = false;
      const entries = queues.map((queue) => new Entry(this.#context, queue, session, options));
      try {
        const outcome = await this.#acquire(session, entries);
        if (outcome !== 'gone') return outcome === 'acquired';
      } finally {
        for (const entry of entries) if (!entry.isHeld) entry.abandon();
      }
      if (!session.checkOpen()) await this.#whenGone(session, entries);
    }
    return false;
  }

  /** An entry of an ended session would make the name busy for this very call. */
  async #whenGone(session: Session, entries: readonly Entry[]): Promise<void> {
    const { store } = this.#context;
    await this.#pause(Infinity, session.whenEntriesGone());
    if (!this.#request.caller.isWaiting) return;
    // A renewal without a response may have prolonged the lease, and the response to the creation may have come after the end.
    await Promise.all(
      entries.map(async (entry) => {
        const own = await readEntry(store, entry, this.#timeLeftMs());
        const isOurs = own?.leaseId === session.leaseId && own.createRevision > entry.knownToken;
        if (isOurs) await store.commit(buildDeletion(entry, own.createRevision), { timeoutMs: this.#timeLeftMs() });
      }),
    );
  }

  /** Waits for `delayMs`, until `event`, until the time is up, or until the caller gives up. */
  async #pause(delayMs: number, event = new Promise<void>(() => undefined)): Promise<void> {
    const { caller } = this.#request;
    const ended = caller.promise.catch(() => undefined);
    await waitAtMost(this.#context.clock, Math.min(delayMs, this.#timeLeftMs()), Promise.race([event, ended]));
  }

  /** Takes step after step. 'gone' asks for a new session. */
  async #acquire(session: Session, entries: readonly Entry[]): Promise<'acquired' | 'taken' | 'gone'> {
    const areAll = (kind: Entry['kind']): boolean => entries.every((entry) => entry.kind === kind);
    while (this.#request.caller.isWaiting) {
      if (areAll('new') && !session.isSealed) {
        if (!(await this.#create(session, entries))) return 'taken';
      } else if (entries.some(({ kind }) => kind === 'unsettled')) {
        await this.#settle(entries);
      } else if (!areAll('queued') || session.isSealed) {
        return 'gone';
      } else if (entries.some(({ needsLook }) => needsLook)) {
        await waitAtMost(this.#context.clock, this.#timeLeftMs(), Promise.all(entries.map((entry) => entry.look())));
      } else if (!session.isWellAhead) {
        await this.#renew(session, entries);
      } else {
        if (!entries.every(({ isAdmitted }) => isAdmitted)) return 'taken';
        return this.#request.onAcquired(entries) ? 'acquired' : 'taken';
      }
    }
    return 'gone';
  }

  /** Renews before the lock is given out: as `HoldTime.renew`. */
  async #renew(session: Session, entries: readonly Entry[]): Promise<void> {
    const isFirst = !this.#wasRenewed;
    if (isFirst) for (const { predecessors } of entries) predecessors?.watchOwn();
    const unwatched = entries.filter((entry) => !isWatched(entry));
    for (const entry of isFirst ? entries : unwatched) entry.forgetLook();
    const look = isFirst ? undefined : () => Promise.all(unwatched.map((entry) => entry.look()));
    let isLookNew = true;
    // Read first: if it threw later, no code would await what has begun.
    const timeoutMs = this.#timeLeftMs();
    const renewing = renewAndLook(this.#context, session, look).then((isNew) => (isLookNew = isNew));
    await waitAtMost(this.#context.clock, timeoutMs, renewing);
    for (const entry of isFirst ? [] : entries) {
      if (unwatched.includes(entry) ? !isLookNew : !isWatched(entry)) entry.forgetLook();
    }
    this.#wasRenewed = true;
  }

  /** Returns false if a name is taken. */
  async #create(session: Session, entries: readonly Entry[]): Promise<boolean> {
    const { caller, steals } = this.#request;
    // Without an await if possible: the first caller is the first in etcd.
    const creation = this.#creationWithoutRead(entries) ?? (await this.#creationAfterRead(entries));
    if (creation === undefined) return false;
    const gate = session.gate.revision;
    try {
      const { succeeded, revision, ranges } = await this.#context.store.commit(
        buildCreationOfAll(entries, session, caller.options.value, creation),
        { once: true, timeoutMs: this.#timeLeftMs() },
      );
      if (succeeded) {
        for (const entry of entries) entry.onCreated(revision, []);
        // Without a compare or a clearing, only a look shows whether the entries are admitted.
        if (creation.compare.length === 0 && !steals) for (const entry of entries) entry.forgetLook();
        return true;
      }
      if (session.gate.observe(ranges[0]?.[0], gate) !== gate) {
        // Another program may move the gate all the time.
        if (this.#gateMoves++ > 0) await session.pause(Math.min(backoffMs(this.#gateMoves, { firstMs: 25 }), this.#timeLeftMs()));
        return true;
      }
      this.#conflicts += 1;
      return caller.options.slots !== exclusive;
    } catch (error) {
      if (error instanceof LeaseNotFoundError) {
        session.end('expired');
      } else if (error instanceof OutcomeUnknownError) {
        this.#hosts = error.hosts;
        for (const entry of entries) entry.markUnsettled(gate, error.cause);
      } else {
        throw error;
      }
      return true;
    }
  }

  #creationWithoutRead(entries: readonly Entry[]): Creation | undefined {
    const { caller, steals } = this.#request;
    if (steals) return { compare: [], first: entries.flatMap(buildClearing) };
    return caller.options.slots === exclusive ? { compare: this.#compareAll('=', 0n) } : undefined;
  }

  /** Others of the kind may be there, but nobody new since the read; undefined if a name is taken. */
  async #creationAfterRead(entries: readonly Entry[]): Promise<Creation | undefined> {
    const { caller, queues } = this.#request;
    const { revision, ranges } = await this.#context.store.commit(buildQueuesRead(entries), { timeoutMs: this.#timeLeftMs() });
    const isFree = queues.every((queue, index) => findObstacle(queue, caller.options.slots, ranges[index] ?? []) === undefined);
    if (!isFree) return undefined;
    return { compare: this.#conflicts < maxConflicts ? this.#compareAll('<', revision + 1n) : [] };
  }

  #compareAll(op: Compare['op'], revision: bigint): readonly Compare[] {
    return this.#request.queues.map(({ key, rangeEnd }) => ({ key, rangeEnd, target: 'create', op, revision }));
  }

  async #settle(entries: readonly Entry[]): Promise<void> {
    // Read once: if a second reading threw, no code would await what has begun.
    const timeoutMs = this.#timeLeftMs();
    try {
      const refusals = await Promise.all(entries.map((entry) => entry.settle(timeoutMs)));
      for (const refusal of refusals) if (refusal !== undefined) throw refusal;
    } catch (error) {
      if (!(error instanceof EtcdUnavailableError) || error.hosts.length > 0) throw error;
      throw this.#unavailable();
    }
  }

  #timeLeftMs(): number {
    const leftMs = msUntil(this.#request.until, this.#context.clock.now());
    if (leftMs <= 0) throw this.#unavailable();
    return leftMs;
  }

  #unavailable(): EtcdUnavailableError {
    return new EtcdUnavailableError(this.#context.requestTimeoutMs, this.#hosts);
  }
}
