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
 * Read in this folder: session.ts, gate.ts (the fence for lost responses), heartbeat.ts (renewals), renewal-failures.ts (why they fail),
 * audit.ts (the keys of the lease), gate-watch.ts, session-pool.ts (which session a caller gets), member.ts, entry-numbers.ts.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { deferred } from '../deferred.ts';
import { EtcdAuthError, EtcdRefusedError, EtcdUnavailableError, isFinal, LeaseNotFoundError, type LossReason } from '../errors.ts';
import { Pauses } from '../pauses.ts';
import type { Renewal } from '../store/store.ts';
import { Audit } from './audit.ts';
import { EntryNumbers } from './entry-numbers.ts';
import { Gate } from './gate.ts';
import { newLeaseId } from './lease-id.ts';
import type { LeaseWanted, Member } from './member.ts';
import { RenewalFailures } from './renewal-failures.ts';

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly deadline: Instant }
  | { readonly kind: 'ended'; readonly leaseEndsAt: Instant };

interface SessionOwner {
  readonly onEnd: (session: Session, reason: LossReason) => void;
  /** A shared session has a holder or a waiter, so its end matters to somebody. */
  readonly onOccupied: () => void;
}

export class Session {
  readonly leaseId = newLeaseId();
  readonly gate: Gate;
  readonly audit: Audit;
  readonly ttlSeconds: number;
  /** Identifies a private lease, one that serves a single call; undefined for a shared one. */
  readonly owner: object | undefined;
  readonly members = new Set<Member>();
  readonly numbers: EntryNumbers;
  /** Since when the session has no reservations; undefined while it has some. */
  idleSince: Instant | undefined;
  /** How often etcd has renewed the lease. */
  renewals = 0;
  readonly #context: Context;
  readonly #owner: SessionOwner;
  readonly #leaseOver = deferred();
  readonly #pauses: Pauses;
  readonly #failures = new RenewalFailures(this);
  #refusal: Error | undefined;
  #state: State = { kind: 'opening' };
  #ttlMs: number;
  #grantedMs = 0;
  #newestToken = 0n;
  #reservations = 0;
  #isSealed = false;
  #isRenewed = true;
  #wasRefused = false;
  #wasGranted = false;

  constructor(context: Context, { ttlSeconds, lease }: LeaseWanted, owner: SessionOwner) {
    this.#context = context;
    this.#pauses = new Pauses(context.clock);
    this.numbers = new EntryNumbers(context.clock);
    this.ttlSeconds = ttlSeconds;
    this.owner = lease;
    this.#ttlMs = ttlSeconds * 1000;
    this.gate = new Gate(context, this);
    this.audit = new Audit(context, this);
    this.#owner = owner;
  }

  /** The TTL of the lease in etcd. A minimum of the server may make it longer than what was asked for. */
  get grantedMs(): number {
    return this.#grantedMs;
  }

  /** The TTL by which the session ends: that of the lease, or for a private one at most what was asked for. */
  get ttlMs(): number {
    return this.#ttlMs;
  }

  /** The time between the local deadline and the end of the TTL. */
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

  /** The failure of the last renewal, if no retry can help: nobody should wait with this session. */
  get refusal(): Error | undefined {
    return this.#refusal;
  }

  /** Reads the clocks: ends the session if its deadline has passed. Returns whether it is open. */
  checkOpen(): boolean {
    if (this.#state.kind === 'open' && this.remainingMs <= 0) {
      this.end('expired', this.#isRenewed ? this.#failures.toCause(this.#ttlMs - this.marginMs) : undefined);
    }
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

  /** Takes in a new entry, before anything is sent for it. */
  join(member: Member): void {
    this.members.add(member);
    this.audit.onEntry(member.key);
  }

  /** Takes in that an entry is held or waits. */
  occupy(): void {
    if (this.owner === undefined && this.#state.kind === 'open') this.#owner.onOccupied();
  }

  /** The newest create revision of an entry that a response has shown. A creation that is sent now gets a higher one. */
  get newestToken(): bigint {
    return this.#newestToken;
  }

  noteToken(token: bigint): void {
    if (token > this.#newestToken) this.#newestToken = token;
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
    this.#grantedMs = (await store.grant(this.leaseId, this.ttlSeconds)) * 1000;
    // The end of a lock without renewal is part of what its caller asked for: a minimum of the server must not move it.
    this.#ttlMs = this.owner === undefined ? this.#grantedMs : Math.min(this.#grantedMs, this.#ttlMs);
    this.#wasGranted = true;
    await this.gate.create(Math.max(1, msUntil(addMs(sentAt, requestTimeoutMs), clock.now())));
    if (this.#state.kind === 'ended') return;
    this.#state = { kind: 'open', deadline: addMs(sentAt, this.#ttlMs - this.marginMs) };
  }

  /** Takes in the response to a renewal that was sent at `sentAt`, when `knownGate` was the gate's revision. Returns whether it counts. */
  onRenewal(sentAt: Instant, knownGate: bigint, { renewed, gate }: Renewal): boolean {
    if (!this.checkOpen() || !this.gate.confirm(gate, knownGate)) return false;
    if (!renewed) {
      this.onRenewalFailure(new Error('the member that answered the renewal is not the leader, or the lease is over'));
      return false;
    }
    this.#failures.clear();
    this.#refusal = undefined;
    this.renewals += 1;
    const deadline = addMs(sentAt, this.#ttlMs - this.marginMs);
    if (this.#state.kind === 'open' && deadline.monotonicMs >= this.#state.deadline.monotonicMs) this.#state = { kind: 'open', deadline };
    return true;
  }

  /** Takes in that a renewal failed. Renewals go on until the deadline, because etcd has not ended the lease before. */
  onRenewalFailure(error: Error): void {
    // The certificate of one host alone may be at fault, so two hosts have to refuse.
    this.#refusal = isFinal(error) && this.#failures.isLastFinal ? error : undefined;
    this.#failures.add(error);
    if (this.#refusal !== undefined) for (const member of [...this.members]) member.onSessionSealed();
  }

  /** Waits for `delayMs`, or until the session ends. */
  pause(delayMs: number): Promise<void> {
    return this.#pauses.wait(delayMs);
  }

  /**
   * Retries `attempt` until etcd accepts it, `isWanted` returns false, or the session ends. Returns whether etcd accepted it. A final
   * refusal seals the session. If etcd refuses the user, the retries go on, at the pace of the beats: the user may get the right back.
   * @throws any other final refusal
   */
  async retry(isWanted: () => boolean, attempt: () => Promise<unknown>): Promise<boolean> {
    for (let failures = 0; isWanted() && this.checkOpen(); failures += 1) {
      let pauseMs = backoffMs(failures + 1);
      try {
        await attempt();
        return true;
      } catch (error) {
        if (!mayPass(error)) this.#sealAfterRefusal();
        if (error instanceof EtcdAuthError) pauseMs = backoffMs(0, { firstMs: this.#ttlMs / 3, maxMs: this.#ttlMs / 3 });
        else if (!mayPass(error)) throw error;
      }
      await this.pause(pauseMs);
    }
    return false;
  }

  /** Takes no new entries from now on. */
  seal(): void {
    if (this.#isSealed) return;
    this.#isSealed = true;
    for (const member of [...this.members]) member.onSessionSealed();
  }

  #sealAfterRefusal(): void {
    this.#wasRefused = true;
    this.seal();
  }

  /** Ends the session and loses its entries. `cause` is why, if it was not this process that decided it. */
  end(reason: LossReason, cause?: Error): void {
    if (this.#state.kind === 'ended') return;
    const { clock, logger } = this.#context;
    const leaseLeftMs = this.marginMs + this.#grantedMs - this.#ttlMs;
    const leaseEndsAt = this.#state.kind === 'open' ? addMs(this.#state.deadline, leaseLeftMs) : clock.now();
    this.#state = { kind: 'ended', leaseEndsAt };
    this.#isSealed = true;
    if (cause !== undefined && this.members.size > 0) logger.warn(`etcd-locker: lost lease ${this.leaseId}: ${String(cause)}`);
    this.#owner.onEnd(this, reason);
    this.#pauses.end();
    for (const member of [...this.members]) member.lose(reason, cause);
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

/** Whether a retry may help. A full etcd accepts writes again once its alarm is disarmed. A move may use another lease. */
const mayPass = (error: unknown): boolean =>
  error instanceof EtcdUnavailableError || error instanceof LeaseNotFoundError || (error instanceof EtcdRefusedError && !error.isFinal);
