/**
 * The queue's protocol for one name: enqueue, wait, hand over, release.
 *
 * Callers of one process line up here, first come first served, and only the first of them has an entry in etcd's queue. The
 * entry belongs to the queue, not to the caller: whoever gives up leaves it to the next, if that one uses the same session.
 * One loop serves the caller in front, step by step, and asks after each step who is in front now.
 */
import { addMs, type Instant, msUntil } from './clock.ts';
import type { Waiting } from './caller.ts';
import { Entry } from './entry.ts';
import { EtcdUnavailableError, type HostFailure } from './errors.ts';
import type { Heartbeat } from './heartbeat.ts';
import { queueRange, type QueueRange } from './keys.ts';
import { type Lock, LockHandle } from './lock.ts';
import type { Context } from './session.ts';
import type { Sessions } from './sessions.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from './store/store.ts';
import type { Creation } from './transactions.ts';
import { EntryGoneError } from './value-writer.ts';

/** The parts that all queues of a locker share. */
export interface Shared extends Context {
  readonly sessions: Sessions;
  readonly heartbeat: Heartbeat;
}

export class NameQueue {
  readonly name: string;
  readonly range: QueueRange;
  readonly #shared: Shared;
  readonly #onIdle: () => void;
  readonly #callers: Waiting<Lock>[] = [];
  /** The entry that waits for the caller in front. */
  #entry: Entry | undefined;
  /** An entry that is to be deleted by the creation of the next one. */
  #replaces: Entry | undefined;
  #holder: Entry | undefined;
  /** Since when etcd owes an answer, and what its hosts have said meanwhile. */
  #owed: { readonly since: Instant; readonly hosts: readonly HostFailure[] } | undefined;
  #isServing = false;
  #isWoken = false;
  #wake: () => void = () => undefined;

  constructor(shared: Shared, name: string, onIdle: () => void) {
    this.#shared = shared;
    this.name = name;
    this.range = queueRange(shared.prefix, name);
    this.#onIdle = onIdle;
  }

  /** Whether somebody of this process holds or waits. */
  get isTaken(): boolean {
    // Reading the session's clocks may find the holder's lease over: then it is lost, and the name is nobody's here.
    this.#holder?.session.checkDeadline();
    return this.#holder !== undefined || this.#callers.length > 0;
  }

  join(caller: Waiting<Lock>): void {
    caller.onGiveUp(() => {
      const index = this.#callers.indexOf(caller);
      if (index >= 0) this.#callers.splice(index, 1);
      if (index === 0) this.wake();
    });
    this.#callers.push(caller);
    this.#start();
  }

  /** Makes an entry, of which etcd has said that it is admitted, the lock that is held. */
  hold(entry: Entry): Lock {
    this.#holder = entry;
    return new LockHandle(
      this.#shared.clock,
      this.name,
      entry,
      () => this.#release(entry),
      () => {
        this.#letGo(entry);
      },
    );
  }

  readonly wake = (): void => {
    this.#isWoken = true;
    this.#wake();
  };

  #letGo(entry: Entry): void {
    if (this.#holder === entry) this.#holder = undefined;
    this.#start();
  }

  #release(entry: Entry): Promise<void> {
    // Where a try got the lock beside the queue, the queue has an entry of its own already.
    const isQueues = this.#holder === entry && !this.#isServing;
    const next = isQueues ? this.#callers[0] : undefined;
    const session = next === undefined ? undefined : this.#shared.sessions.enterAtOnce(next.ttlSeconds);
    if (next === undefined || session === undefined) {
      entry.leave();
    } else {
      entry.giveUp();
      this.#replaces = entry;
      this.#entry = new Entry(this.#shared, this.range, session, next.value, this.wake);
    }
    this.#letGo(entry);
    return entry.left;
  }

  #start(): void {
    if (this.#isServing || this.#holder !== undefined) return;
    if (this.#callers.length === 0) this.#onIdle();
    else void this.#serve();
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    let failures = 0;
    for (let caller = this.#callers[0]; caller !== undefined; caller = this.#callers[0]) {
      const askedAt = this.#shared.clock.now();
      try {
        if (await this.#advance(caller)) return;
        failures = 0;
      } catch (error) {
        this.#heard(error, askedAt);
        // The entry is unsettled now: that is the next step, and one to be taken at once.
        if (error instanceof OutcomeUnknownError && this.#hasTime(caller)) continue;
        failures += 1;
        if (!(error instanceof EntryGoneError)) this.#failed(caller, error);
        if (caller.isWaiting && this.#entry?.kind !== 'gone') await this.#sleep(Math.min(25 * 2 ** failures, 1_000));
      }
    }
    this.#drop();
    this.#isServing = false;
    this.#start();
  }

  /** One step towards the lock for the caller in front, tells whether it was the last: then somebody else may serve already. */
  async #advance(caller: Waiting<Lock>): Promise<boolean> {
    const entry = this.#entry;
    if (entry === undefined) {
      const { sessions } = this.#shared;
      const session = sessions.enterAtOnce(caller.ttlSeconds) ?? (await sessions.enter(caller.ttlSeconds, this.#timeLeft(caller)));
      this.#owed = undefined;
      this.#entry = new Entry(this.#shared, this.range, session, caller.value, this.wake);
    } else if (entry.kind === 'gone' || entry.session.isSealed || entry.session.ttlSeconds !== caller.ttlSeconds) {
      this.#drop();
    } else if (entry.kind === 'new') {
      await this.#enqueue(entry, caller);
    } else if (entry.kind === 'unsettled') {
      await entry.settle(this.#timeLeft(caller));
      this.#owed = undefined;
    } else {
      return this.#awaitTurn(entry, caller);
    }
    return false;
  }

  async #awaitTurn(entry: Entry, caller: Waiting<Lock>): Promise<boolean> {
    caller.wasEnqueued = true;
    if (!entry.bears(caller.value)) {
      await entry.setValue(caller.value);
    } else if (entry.needsLook) {
      await entry.look();
    } else if (!entry.isAdmitted) {
      entry.awaitTurn();
      await this.#sleep();
    } else if (!entry.session.isWellAhead) {
      // The lease may have ended by now: what was read before the renewal does not count.
      entry.forgetLook();
      await this.#shared.heartbeat.beat(entry.session);
    } else {
      this.#entry = undefined;
      this.#callers.shift();
      // Here and not where the loop ends, as the caller may release before that gets its turn.
      this.#isServing = false;
      caller.resolve(this.hold(entry));
      return true;
    }
    return false;
  }

  async #enqueue(entry: Entry, caller: Waiting<Lock>): Promise<void> {
    const old = this.#replaces;
    const creation: Creation =
      old === undefined
        ? { compare: [{ key: entry.key, target: 'create', op: '=', revision: 0n }] }
        : {
            compare: [{ key: old.key, target: 'create', op: '=', revision: old.token }],
            first: [{ delete: { key: old.key } }],
            otherwise: [{ range: { key: old.key } }],
          };
    try {
      const outcome = await entry.create(creation, this.#timeLeft(caller));
      this.#owed = undefined;
      if (outcome.kind === 'created') {
        old?.replaced();
        this.#replaces = undefined;
      } else if (!outcome.gateMoved) {
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

  /** Keeps account of how long etcd has been silent. */
  #heard(error: unknown, askedAt: Instant): void {
    const isSilence = error instanceof OutcomeUnknownError || error instanceof EtcdUnavailableError;
    const { since = askedAt, hosts = [] } = this.#owed ?? {};
    this.#owed = isSilence ? { since, hosts: error.hosts.length > 0 ? error.hosts : hosts } : undefined;
  }

  // Who was enqueued once waits on whatever happens; who was not is told after a whole requestTimeoutMs of silence.
  #failed(caller: Waiting<Lock>, error: unknown): void {
    const { logger, requestTimeoutMs } = this.#shared;
    if (caller.wasEnqueued) {
      logger.warn(`etcd-locker: still waiting for lock ${JSON.stringify(this.name)}: ${String(error)}`);
    } else if (this.#owed === undefined) {
      caller.reject(error);
    } else {
      for (const one of [...this.#callers]) {
        if (one === caller || !this.#hasTime(one)) one.reject(new EtcdUnavailableError(requestTimeoutMs, this.#owed.hosts));
      }
    }
  }

  #hasTime(caller: Waiting<Lock>): boolean {
    return caller.wasEnqueued || this.#timeLeft(caller) > 1;
  }

  #timeLeft({ joinedAt, wasEnqueued }: Waiting<Lock>): number {
    const { clock, requestTimeoutMs } = this.#shared;
    if (this.#owed === undefined || wasEnqueued) return requestTimeoutMs;
    const { since } = this.#owed;
    const waitsSince = joinedAt.monotonicMs > since.monotonicMs ? joinedAt : since;
    return Math.max(1, msUntil(addMs(waitsSince, requestTimeoutMs), clock.now()));
  }

  /** Until something happens, or at most `delayMs`. */
  async #sleep(delayMs?: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const cancel = delayMs === undefined ? undefined : this.#shared.clock.setTimer(delayMs, resolve);
        this.#wake = () => {
          cancel?.();
          resolve();
        };
      });
    }
    this.#wake = () => undefined;
    this.#isWoken = false;
  }

  /** Rejects whoever waits. */
  close(reason: unknown): void {
    for (const caller of [...this.#callers]) caller.reject(reason);
  }
}
