/**
 * One lease, its gate and its local deadline; the entries made with it live and die together.
 *
 * The gate is a key of the session's own. Every write that creates an entry compares the gate's mod revision, so that moving
 * the gate settles all such writes whose outcome is unknown: what has not been applied by then never will be.
 * The deadline runs from when a renewal was sent, not answered. Once it has passed the session is over for good, whatever
 * answer may still come. Source: Gray & Cheriton, "Leases" (SOSP 1989).
 */
import { randomBytes } from 'node:crypto';
import { addMs, type Instant, msUntil, within } from '../clock.ts';
import { EntryNumbers } from './entry-numbers.ts';
import { EtcdUnavailableError, type LossReason } from '../errors.ts';
import { gateKey } from '../keys.ts';
import type { Context } from '../context.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import { type KeyValue, LeaseNotFoundError, type Renewal } from '../store/store.ts';

/** What a caller wants its lease to be. */
export type LeaseWanted = Pick<ResolvedLockOptions, 'ttlSeconds' | 'lease'>;

/** What a session tells the entries that live in it. */
export interface Member {
  readonly key: string;
  /** True while a caller has the lock. */
  readonly isHeld: boolean;
  /** Held, confirmed by etcd, and no write of ours to it under way. */
  readonly isSettled: boolean;
  /** Reads it linearizably and counts it lost where it is gone or not ours. */
  verify(): Promise<void>;
  /** The entry is gone or will be. */
  lose(reason: LossReason): void;
  /** The session takes no new entry; a waiter had better go to another one. */
  sessionSealed(): void;
  /** Time for a slow look, where one is due. */
  tick(now: Instant): void;
}

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly gateCreated: bigint; readonly deadline: Instant }
  | { readonly kind: 'ended'; readonly reason: LossReason };

export class Session {
  readonly leaseId = newLeaseId();
  readonly gateKey: string;
  readonly ttlSeconds: number;
  /** Whose lease it is alone; undefined where all share it. */
  readonly owner: object | undefined;
  readonly members = new Set<Member>();
  readonly numbers = new EntryNumbers();
  /** Since when nothing needs it; undefined while something does. */
  idleSince: Instant | undefined;
  readonly #context: Context;
  readonly #onEnd: (session: Session) => void;
  #state: State = { kind: 'opening' };
  #ttlMs: number;
  #gate = 0n;
  #moving: Promise<void> | undefined;
  #reservations = 0;
  readonly #pauses = new Set<() => void>();
  #sealed = false;
  #isRenewed = true;
  #refused = false;
  #granted = false;

  constructor(context: Context, { ttlSeconds, lease }: LeaseWanted, onEnd: (session: Session) => void) {
    this.#context = context;
    this.ttlSeconds = ttlSeconds;
    this.owner = lease;
    this.#ttlMs = ttlSeconds * 1000;
    this.gateKey = gateKey(context.prefix, this.leaseId);
    this.#onEnd = onEnd;
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  get marginMs(): number {
    return Math.max(500, this.#ttlMs / 10);
  }

  /** The gate's mod revision, as far as it is known. */
  get gate(): bigint {
    return this.#gate;
  }

  /** Whether the lease is certainly alive; reading it past the deadline ends the session there and then. */
  get isOpen(): boolean {
    this.checkDeadline();
    return this.#state.kind === 'open';
  }

  /** Why it is over, where it is. */
  checkDeadline(): LossReason | undefined {
    if (this.#state.kind === 'open' && this.remainingMs <= 0) this.end('expired');
    return this.#state.kind === 'ended' ? this.#state.reason : undefined;
  }

  get hasEnded(): boolean {
    return this.checkDeadline() !== undefined;
  }

  suits({ ttlSeconds, lease }: LeaseWanted): boolean {
    return this.ttlSeconds === ttlSeconds && this.owner === lease;
  }

  /** Whether the deadline is nearly as far ahead as it can be. */
  get isFresh(): boolean {
    return this.isOpen && this.remainingMs >= 0.9 * (this.#ttlMs - this.marginMs);
  }

  /** Whether the deadline is so far ahead that a lock may be given out. */
  get isWellAhead(): boolean {
    return this.isOpen && this.remainingMs >= this.#ttlMs / 3;
  }

  get remainingMs(): number {
    if (this.#state.kind !== 'open') return 0;
    return Math.max(0, msUntil(this.#state.deadline, this.#context.clock.now()));
  }

  get reservations(): number {
    return this.#reservations;
  }

  /** Whether etcd may have the lease. */
  get wasGranted(): boolean {
    return this.#granted;
  }

  get isSealed(): boolean {
    return this.#sealed;
  }

  /** Whether it is to be renewed: always, but for one that is to end by itself, or was refused a delete while nothing is held in it. */
  get wantsRenewal(): boolean {
    return this.isOpen && this.#isRenewed && (!this.#refused || [...this.members].some((member) => member.isHeld));
  }

  /** Waits, but not beyond the session's end. */
  pause(delayMs: number): Promise<void> {
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

  /** Takes places for entries; each is given back by `leave` once no trace of the entry can be in etcd. */
  reserve(places = 1): void {
    this.#reservations += places;
    this.idleSince = undefined;
  }

  unreserve(): void {
    this.#reservations -= 1;
    if (this.#reservations > 0) return;
    this.idleSince = this.#context.clock.now();
    if (this.owner !== undefined) this.end('expired');
  }

  /** From now on it is not renewed any more: it ends by itself at its deadline. */
  endRenewal(): void {
    this.#isRenewed = false;
  }

  /**
   * Grants the lease and puts the gate, both within one `requestTimeoutMs`.
   * @throws {LeaseNotFoundError} the lease ended before the gate was there
   */
  async open(): Promise<void> {
    const { store, clock, gateValue: value, requestTimeoutMs } = this.#context;
    // Of the first sending: the store may repeat the grant, and the lease may run from any of them.
    const sentAt = clock.now();
    this.#ttlMs = (await store.grant(this.leaseId, this.ttlSeconds)) * 1000;
    this.#granted = true;
    const { succeeded, revision, ranges } = await store.commit(
      {
        compare: [{ key: this.gateKey, target: 'create', op: '=', revision: 0n }],
        then: [{ put: { key: this.gateKey, value, leaseId: this.leaseId } }],
        otherwise: [{ range: { key: this.gateKey } }],
      },
      { timeoutMs: Math.max(1, msUntil(addMs(sentAt, requestTimeoutMs), clock.now())) },
    );
    const found = ranges[0]?.[0];
    const [gateCreated, gate] = succeeded ? [revision, revision] : [found?.createRevision ?? 0n, found?.modRevision ?? 0n];
    if (this.#state.kind === 'ended') return;
    this.#gate = gate;
    this.#state = { kind: 'open', gateCreated, deadline: addMs(sentAt, this.#ttlMs - this.marginMs) };
  }

  /** Takes in what a renewal sent at `sentAt` was answered; tells whether the deadline moved. */
  renewed(sentAt: Instant, { renewed, gate }: Renewal): boolean {
    if (!this.isOpen || this.#state.kind !== 'open') return false;
    const { gateCreated, deadline } = this.#state;
    if (gate?.createRevision !== gateCreated) {
      this.end('expired');
      return false;
    }
    this.gateSeen(gate.modRevision);
    if (!renewed) return false;
    const next = addMs(sentAt, this.#ttlMs - this.marginMs);
    if (next.monotonicMs > deadline.monotonicMs) this.#state = { kind: 'open', gateCreated, deadline: next };
    return true;
  }

  /** Takes in the gate as a linearizable answer has it, tells its mod revision; without it the session is over. */
  foundGate(gate: KeyValue | undefined): bigint | undefined {
    if (gate === undefined) this.end('expired');
    else this.gateSeen(gate.modRevision);
    return gate?.modRevision;
  }

  /** Takes in a mod revision of the gate that an answer bore. */
  gateSeen(modRevision: bigint): void {
    if (modRevision > this.#gate) this.#gate = modRevision;
  }

  /**
   * Moves the gate on from `gate`: when it resolves, no write that compared `gate` can be applied any more.
   * @throws {EtcdUnavailableError} nobody answered in time; call again. Its hosts may be missing where the move still goes on
   */
  async settle(gate: bigint, timeoutMs: number): Promise<void> {
    const { clock, requestTimeoutMs } = this.#context;
    const until = addMs(clock.now(), timeoutMs);
    while (this.isOpen && this.#gate <= gate) {
      const isOurs = this.#moving === undefined;
      this.#moving ??= this.#moveGate().finally(() => (this.#moving = undefined));
      try {
        await within(clock, Math.max(0, msUntil(until, clock.now())), this.#moving);
      } catch (error) {
        // Somebody else's move may end in the middle of our time, and ours goes on for those who have more of it.
        if (isOurs || !(error instanceof EtcdUnavailableError)) throw error;
      }
      if (this.#gate <= gate && msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, []);
    }
  }

  async #moveGate(): Promise<void> {
    if (this.#state.kind !== 'open') return;
    const { store, gateValue: value } = this.#context;
    const { gateKey: key, leaseId } = this;
    const gateCreated = { key, target: 'create', op: '=', revision: this.#state.gateCreated } as const;
    let answer;
    try {
      answer = await store.commit({ compare: [gateCreated], then: [{ put: { key, value, leaseId } }], otherwise: [] });
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
      this.end('expired');
      return;
    }
    // Without the gate no such write can be applied either, for a key never gets back a mod revision that it had.
    if (answer.succeeded) this.gateSeen(answer.revision);
    else this.end('expired');
  }

  /** From now on it takes no new entry. */
  seal(): void {
    if (this.#sealed) return;
    this.#sealed = true;
    for (const member of [...this.members]) member.sessionSealed();
  }

  /** etcd refused a delete, so only the end of the lease can free the entry: no new ones, and no renewal for it alone. */
  sealAfterRefusal(): void {
    this.#refused = true;
    this.seal();
  }

  end(reason: LossReason): void {
    if (this.#state.kind === 'ended') return;
    this.#state = { kind: 'ended', reason };
    this.#sealed = true;
    this.#onEnd(this);
    for (const done of [...this.#pauses]) done();
    for (const member of [...this.members]) member.lose(reason);
  }
}

// Chosen here, so that a grant whose answer was lost can be sent again. Positive, as etcd takes 0 for "choose one".
function newLeaseId(): string {
  const id = randomBytes(8).readBigUInt64BE() >> 1n;
  return id === 0n ? newLeaseId() : id.toString();
}
