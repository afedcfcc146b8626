/**
 * A session: one lease with its gate and its local deadline. The entries made with it end together with it.
 *
 *     opening ──open()──▶ open ──deadline passed, gate gone, idle, closed──▶ ended
 *
 * The deadline counts from the sending of a renewal, not from its response. A deadline that has passed ends the session for good,
 * and no later response changes that. Source: Gray & Cheriton, "Leases" (SOSP 1989).
 *
 * `end()` changes states only. It calls no code of a user: entries notify their holders in a microtask of their own.
 *
 * Read in this folder: session.ts, gate.ts (the fence for lost responses), heartbeat.ts (renewals), session-pool.ts (which session a
 * caller gets), entry-numbers.ts (the numbers in keys), locker-context.ts.
 */
import { randomBytes } from 'node:crypto';
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { deferred } from '../deferred.ts';
import { EtcdUnavailableError, type LossReason } from '../errors.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { Renewal } from '../store/store.ts';
import { EntryNumbers } from './entry-numbers.ts';
import { Gate } from './gate.ts';

/** The lease that a caller asks for. */
export type LeaseWanted = Pick<ResolvedLockOptions, 'ttlSeconds' | 'lease'>;

/** The part of an entry that its session uses. */
export interface Member {
  readonly key: string;
  readonly isHeld: boolean;
  /** Held, confirmed by etcd, and without a write under way. */
  readonly isSettled: boolean;
  /** Reads the entry linearizably and loses it if it is gone. */
  verify(): Promise<void>;
  /** Counts the entry as gone. */
  lose(reason: LossReason): void;
  /** The session takes no new entries; a waiter moves to another session. */
  onSessionSealed(): void;
  /** Looks again if a slow look is due. */
  tick(now: Instant): void;
}

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly deadline: Instant }
  | { readonly kind: 'ended'; readonly leaseEndsAt: Instant };

export class Session {
  readonly leaseId = newLeaseId();
  readonly gate: Gate;
  readonly ttlSeconds: number;
  /** Identifies a private lease, one that serves a single call; undefined for a shared one. */
  readonly owner: object | undefined;
  readonly members = new Set<Member>();
  readonly numbers = new EntryNumbers();
  /** Since when the session has no reservations; undefined while it has some. */
  idleSince: Instant | undefined;
  /** Whether etcd has renewed the lease. */
  wasRenewed = false;
  readonly #context: Context;
  readonly #onEnd: (session: Session) => void;
  readonly #leaseOver = deferred();
  readonly #pauses = new Set<() => void>();
  #state: State = { kind: 'opening' };
  #ttlMs: number;
  #reservations = 0;
  #isSealed = false;
  #isRenewed = true;
  #wasRefused = false;
  #wasGranted = false;

  constructor(context: Context, { ttlSeconds, lease }: LeaseWanted, onEnd: (session: Session) => void) {
    this.#context = context;
    this.ttlSeconds = ttlSeconds;
    this.owner = lease;
    this.#ttlMs = ttlSeconds * 1000;
    this.gate = new Gate(context, this);
    this.#onEnd = onEnd;
  }

  /** The TTL that etcd granted. */
  get ttlMs(): number {
    return this.#ttlMs;
  }

  /** The time between the local deadline and the end of the lease in etcd. */
  get marginMs(): number {
    return Math.max(500, this.#ttlMs / 10);
  }

  get isOpening(): boolean {
    return this.#state.kind === 'opening';
  }

  /** Whether the session takes no new entries. */
  get isSealed(): boolean {
    return this.#isSealed;
  }

  /** Whether etcd may have the lease. */
  get wasGranted(): boolean {
    return this.#wasGranted;
  }

  get reservations(): number {
    return this.#reservations;
  }

  /** Milliseconds until the deadline; 0 if it has passed or the session is not open. */
  get remainingMs(): number {
    if (this.#state.kind !== 'open') return 0;
    return Math.max(0, msUntil(this.#state.deadline, this.#context.clock.now()));
  }

  /** Whether the deadline is far enough ahead to give out a lock. */
  get isWellAhead(): boolean {
    return this.#state.kind === 'open' && this.remainingMs >= this.#ttlMs / 3;
  }

  /** Whether the deadline is nearly as far ahead as it can be. */
  get isFresh(): boolean {
    return this.#state.kind === 'open' && this.remainingMs >= 0.9 * (this.#ttlMs - this.marginMs);
  }

  /** Reads the clocks: ends the session if its deadline has passed. Returns whether it is open. */
  checkOpen(): boolean {
    if (this.#state.kind === 'open' && this.remainingMs <= 0) this.end('expired');
    return this.#state.kind === 'open';
  }

  /** Whether the lease is to be renewed. After a refused delete only held entries keep it alive. */
  needsRenewal(): boolean {
    return this.checkOpen() && this.#isRenewed && (!this.#wasRefused || [...this.members].some((member) => member.isHeld));
  }

  /** Reserves room for entries. `unreserve` gives back the room of one entry, once no trace of it can be in etcd. */
  reserve(count = 1): void {
    this.#reservations += count;
    this.idleSince = undefined;
  }

  unreserve(count = 1): void {
    this.#reservations -= count;
    if (this.#reservations > 0) return;
    this.idleSince = this.#context.clock.now();
    if (this.owner !== undefined) this.end('expired');
  }

  suits({ ttlSeconds, lease }: LeaseWanted): boolean {
    return this.ttlSeconds === ttlSeconds && this.owner === lease;
  }

  /** Stops the renewals: the session ends at its deadline. */
  endRenewal(): void {
    this.#isRenewed = false;
  }

  /**
   * Grants the lease and creates the gate, both within one `requestTimeoutMs`.
   * @throws {LeaseNotFoundError} the lease ended before the gate was created
   */
  async open(): Promise<void> {
    const { store, clock, requestTimeoutMs } = this.#context;
    // The first sending counts: the store may repeat the grant, and the lease may run from any of them.
    const sentAt = clock.now();
    this.#ttlMs = (await store.grant(this.leaseId, this.ttlSeconds)) * 1000;
    this.#wasGranted = true;
    await this.gate.create(Math.max(1, msUntil(addMs(sentAt, requestTimeoutMs), clock.now())));
    if (this.#state.kind === 'ended') return;
    this.#state = { kind: 'open', deadline: addMs(sentAt, this.#ttlMs - this.marginMs) };
  }

  /** Takes in the response to a renewal that was sent at `sentAt`. Returns whether it counts. */
  onRenewal(sentAt: Instant, { renewed, gate }: Renewal): boolean {
    if (!this.checkOpen() || !this.gate.confirm(gate) || !renewed) return false;
    this.wasRenewed = true;
    const deadline = addMs(sentAt, this.#ttlMs - this.marginMs);
    if (this.#state.kind === 'open' && deadline.monotonicMs >= this.#state.deadline.monotonicMs) this.#state = { kind: 'open', deadline };
    return true;
  }

  /** Waits for `delayMs`, or until the session ends. */
  pause(delayMs: number): Promise<void> {
    if (this.#state.kind === 'ended') return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#pauses.delete(done);
        resolve();
      };
      const cancel = this.#context.clock.setTimer(delayMs, done);
      this.#pauses.add(done);
    });
  }

  /**
   * Retries `attempt` until etcd responds, `isWanted` returns false, or the session ends. Returns whether etcd responded.
   * @throws the refusal of etcd; the session is sealed then, because only its end can free what it has in etcd
   */
  async retry(isWanted: () => boolean, attempt: () => Promise<unknown>): Promise<boolean> {
    for (let failures = 0; isWanted() && this.checkOpen(); failures += 1) {
      try {
        await attempt();
        return true;
      } catch (error) {
        if (!(error instanceof EtcdUnavailableError)) {
          this.#sealAfterRefusal();
          throw error;
        }
      }
      await this.pause(backoffMs(failures + 1));
    }
    return false;
  }

  /** Takes no new entries from now on. */
  seal(): void {
    if (this.#isSealed) return;
    this.#isSealed = true;
    for (const member of [...this.members]) member.onSessionSealed();
  }

  // Only the end of the lease can free an entry that etcd does not delete.
  #sealAfterRefusal(): void {
    this.#wasRefused = true;
    this.seal();
  }

  end(reason: LossReason): void {
    if (this.#state.kind === 'ended') return;
    const leaseEndsAt = this.#state.kind === 'open' ? addMs(this.#state.deadline, this.marginMs) : this.#context.clock.now();
    this.#state = { kind: 'ended', leaseEndsAt };
    this.#isSealed = true;
    this.#onEnd(this);
    for (const done of [...this.#pauses]) done();
    for (const member of [...this.members]) member.lose(reason);
  }

  /** etcd has confirmed that the lease is gone. */
  confirmLeaseOver(): void {
    this.#leaseOver.resolve();
  }

  /**
   * Resolves once a lost entry is gone from etcd: at once if the session is open, else when etcd has confirmed the end of the lease,
   * or a TTL after the last renewal that etcd confirmed. A renewal without a response may have made the lease last longer.
   */
  async whenEntriesGone(): Promise<void> {
    if (this.#state.kind !== 'ended') return;
    const { clock } = this.#context;
    const cancel = clock.setTimer(Math.max(0, msUntil(this.#state.leaseEndsAt, clock.now())), this.#leaseOver.resolve);
    await this.#leaseOver.promise.finally(cancel);
  }
}

// The client chooses the id, so that it can send a grant again after a lost response. etcd takes 0 for "choose one".
function newLeaseId(): string {
  const id = randomBytes(8).readBigUInt64BE() >> 1n;
  return id === 0n ? newLeaseId() : id.toString();
}
