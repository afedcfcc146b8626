/**
 * An entry: one key in etcd, one place in a name's queue. This file has all writes and reads of that key but those of its value.
 *
 *                  ┌── response ───────────────▶ queued ──hold()──▶ held
 *     new ─creation┤                              ▲  │               │
 *      ▲           └── unknown ─────▶ unsettled ──┘  └── release() ──┤
 *      └── settle(): not created ─────┘                              ▼
 *     gone ◀── deleted, or the lease is over ───────────────── releasing
 *      ▲
 *      └── lose(), from any state
 *
 * A write that creates the key is sent at most once per revision of the session's gate. Without a response the entry is unsettled until
 * the gate has moved. Every other write compares the revision that it means, so it never touches the entry of another process.
 * Read in this folder: entry.ts, creation.ts, admission.ts (who holds), predecessors.ts (when to look again), release.ts, transactions.ts.
 */
import type { Instant } from '../clock.ts';
import type { Context } from '../context.ts';
import { EtcdRefusedError, type LossReason } from '../errors.ts';
import { byCreateRevision, entryKey, type QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { Member } from '../session/member.ts';
import type { Session } from '../session/session.ts';
import type { KeyValue } from '../store/store.ts';
import { abandonEntry } from './abandon.ts';
import { detached, type Holder, scheduleLoss } from './loss-notice.ts';
import type { MinimumHold } from './minimum-hold.ts';
import { type EntryOwner, Predecessors } from './predecessors.ts';
import { Release } from './release.ts';
import { buildLook, readEntry } from './transactions.ts';
import { readSettled } from './unknown-outcome.ts';
import { EntryGoneError, ValueWriter } from './value-writer.ts';

type State =
  | { readonly kind: 'new' }
  | { readonly kind: 'unsettled'; readonly gate: bigint; readonly refusal: EtcdRefusedError | undefined }
  | { readonly kind: 'queued' }
  | { readonly kind: 'held'; readonly holder: Holder }
  | { readonly kind: 'releasing' }
  | { readonly kind: 'gone' };

export class Entry implements Member {
  readonly key: string;
  readonly queue: QueueRange;
  readonly session: Session;
  readonly slots: number;
  readonly knownToken: bigint;
  /** Set while it is held, if a release must leave the name taken. */
  minimumHold: MinimumHold | undefined;
  /** Called when a release has deleted the key and left the queue empty. Without it, the release reads no queue. */
  onQueueEmpty: (() => void) | undefined;
  /** Whether another session has an entry with this key. */
  isKeyForeign = false;
  readonly #context: Context;
  readonly #number: number;
  /** Undefined once it is held. */
  #owner: EntryOwner | undefined;
  #state: State = { kind: 'new' };
  #token = 0n;
  #modRevision = 0n;
  #value: string;
  #writer: ValueWriter | undefined;
  /** Undefined once it is held, unless its own key was watched at that time. */
  #predecessors: Predecessors | undefined;
  #release: Release | undefined;
  #notifyLoss: (() => void) | undefined;

  /** The caller has reserved room for the entry in `session`. */
  constructor(context: Context, queue: QueueRange, session: Session, options: ResolvedLockOptions, owner?: EntryOwner) {
    this.#context = context;
    this.queue = queue;
    this.slots = options.slots;
    this.session = session;
    this.knownToken = session.newestToken;
    this.#number = session.numbers.take(queue.key);
    this.key = entryKey(queue, session.leaseId, this.#number, options.slots);
    this.#owner = owner;
    this.#value = options.value;
    this.#predecessors = new Predecessors(context, this, owner);
    session.join(this);
  }

  get kind(): State['kind'] {
    return this.#state.kind;
  }

  /** The create revision of the key: the fencing token. */
  get token(): bigint {
    return this.#token;
  }

  get value(): string {
    return this.#writer?.value ?? this.#value;
  }

  /** Whether etcd certainly has this value. */
  hasValue(value: string): boolean {
    return this.#writer?.isCertain !== false && this.value === value;
  }

  get isHeld(): boolean {
    return this.#state.kind === 'held';
  }

  get isSettled(): boolean {
    return (this.isHeld || this.kind === 'queued') && this.#writer?.isBusy !== true;
  }

  /** Whether the last look found the entry admitted, or a deletion since has admitted it. */
  get isAdmitted(): boolean {
    return this.#state.kind === 'queued' && this.#predecessors?.isAdmitted === true;
  }

  /** What is in its way, while it is queued. */
  get predecessors(): Predecessors | undefined {
    return this.kind === 'queued' ? this.#predecessors : undefined;
  }

  get needsLook(): boolean {
    return this.#predecessors?.needsLook === true;
  }

  /** Takes in that etcd created the key at `revision`, with the entries `ahead` before it. */
  onCreated(revision: bigint, ahead: readonly KeyValue[]): void {
    this.onFound({ createRevision: revision, modRevision: revision });
    this.#predecessors?.onLook(revision, ahead);
  }

  /** Takes in that a write which compared `gate` may create the key, now or later; with a refusal: not later. */
  markUnsettled(gate: bigint, refusal?: unknown): void {
    const refused = refusal instanceof EtcdRefusedError ? refusal : undefined;
    if (this.#state.kind === 'new') this.#state = { kind: 'unsettled', gate, refusal: refused };
  }

  /**
   * Finds out what became of a creation of unknown outcome: the entry is queued, new or gone afterwards. Returns the refusal if etcd
   * refused the creation and did not apply it.
   * @throws {EtcdUnavailableError} etcd did not respond in time; the entry is still unsettled
   */
  async settle(timeoutMs: number): Promise<EtcdRefusedError | undefined> {
    if (this.#state.kind !== 'unsettled') return undefined;
    const { gate, refusal } = this.#state;
    const own = await readSettled(this.#context, this, gate, refusal !== undefined, timeoutMs);
    if (this.kind !== 'unsettled') return undefined;
    if (own === undefined) this.#state = { kind: 'new' };
    else this.onFound(own);
    return own === undefined ? refusal : undefined;
  }

  /** Takes in that etcd has the key. */
  onFound({ createRevision, modRevision }: Pick<KeyValue, 'createRevision' | 'modRevision'>): void {
    if (this.#state.kind !== 'new' && this.#state.kind !== 'unsettled') return;
    this.#state = { kind: 'queued' };
    this.#token = createRevision;
    this.session.noteToken(createRevision);
    this.#modRevision = modRevision;
  }

  async look(): Promise<void> {
    this.startLook();
    const { revision, ranges } = await this.#context.store.commit(buildLook(this, this.#token));
    this.onLook(revision, ranges.flat());
  }

  startLook(): void {
    this.#predecessors?.startLook();
  }

  /** Takes in a look that found the entries `found`: itself and those before it. Loses the entry if it is no longer there. */
  onLook(revision: bigint, found: readonly KeyValue[]): void {
    if (this.#state.kind !== 'queued') return;
    const own = found.find(({ key }) => key === this.key);
    // A look of a shared kind reads keys without their leases. The audit reads those.
    if (!this.#checkOwn(own, this.slots === exclusive) || own === undefined) return;
    const ahead = found.filter((kv) => byCreateRevision(kv, own) < 0);
    this.#predecessors?.onLook(revision, ahead);
  }

  /** Takes in that a read at `revision`, made for another entry, found this one admitted. */
  onSeenAdmitted(revision: bigint): void {
    if (this.#state.kind === 'queued' && this.#predecessors?.onSeenAdmitted(revision) === true) this.#owner?.onEntryChange();
  }

  /** Makes the last look count no more: `isAdmitted` is false until the next one. */
  forgetLook(): void {
    this.#predecessors?.forgetLook();
  }

  /** Takes in that this process deleted all entries that were created before `token`. */
  onSteal(token: bigint): void {
    if (this.isHeld && this.#token < token) this.lose('deleted');
    else this.#predecessors?.onSteal(token);
  }

  tick(now: Instant): void {
    this.#predecessors?.tick(now);
    if (this.#state.kind === 'held') this.#state.holder.onTick();
  }

  onSessionSealed(): void {
    this.#owner?.onEntryChange();
  }

  /** Turns an admitted entry into a held one, or a held one into that of the next holder, and ends the writes of the former. */
  hold(holder: Holder): void {
    this.#writer?.stop();
    if (this.#predecessors?.hold() !== true) this.#predecessors = undefined;
    this.#owner = undefined;
    this.#state = { kind: 'held', holder };
  }

  setValue(value: string): Promise<void> {
    if (this.kind !== 'queued' && this.kind !== 'held') return Promise.reject(new EntryGoneError());
    this.#writer ??= new ValueWriter(this.#context, this, this.#value, this.#modRevision, (own) => this.#checkOwn(own));
    return this.#writer.write(value);
  }

  async verify(): Promise<void> {
    const own = await readEntry(this.#context.store, this, this.#context.requestTimeoutMs);
    if (this.isSettled) this.#checkOwn(own);
  }

  /** Loses the entry if the key that a response shows is gone, another one, or no longer belongs to the lease. */
  #checkOwn(own: KeyValue | undefined, hasLease = true): boolean {
    const isSame = own?.createRevision === this.#token;
    if (isSame && (!hasLease || own.leaseId === this.session.leaseId)) return true;
    if (isSame) this.#releaseAsLost('deleted', detached());
    else this.lose('deleted');
    return false;
  }

  #releaseAsLost(reason: LossReason, cause?: Error): void {
    const state = this.#state;
    this.release();
    if (state.kind === 'held') this.#notifyLoss = scheduleLoss(state.holder, reason, cause);
    this.#owner?.onEntryChange();
  }

  beforeRevocation(reason: LossReason): Promise<void> | undefined {
    // A minimum hold outlives its locker.
    if (reason === 'closed' && this.isHeld && this.minimumHold?.isPending === true) this.#releaseAsLost(reason);
    return this.#release?.move;
  }

  /** Counts the entry as released. `release` or `confirmReleased` has to follow. */
  startRelease(): void {
    this.#predecessors?.stop();
    this.#writer?.stop();
    if (this.#state.kind !== 'held' && this.#state.kind !== 'queued') return;
    this.#state = { kind: 'releasing' };
    this.#release = new Release(this.minimumHold);
  }

  /** Takes in that etcd has deleted the key. */
  confirmReleased(): void {
    if (this.kind !== 'gone') this.#finish();
    this.#release?.confirm();
  }

  /** Deletes the key, or moves it to another lease. Retries until etcd responds or the session ends. */
  release(): void {
    this.startRelease();
    this.#release?.send(this.#context, this);
  }

  /** Resolves once etcd has confirmed the release, or the lease is over; rejects if etcd refuses. */
  whenReleased(): Promise<void> {
    return this.#release?.promise ?? Promise.resolve();
  }

  abandon(): void {
    this.#predecessors?.stop();
    abandonEntry(this.#context, this);
  }

  /** Counts the entry as gone, at once. A holder is notified in a microtask. */
  lose(reason: LossReason, cause?: Error): void {
    const state = this.#state;
    if (state.kind === 'gone') return;
    this.#finish();
    if (state.kind === 'releasing') this.#release?.onSessionEnd(this.session);
    if (state.kind === 'held') this.#notifyLoss = scheduleLoss(state.holder, reason, cause);
    this.#owner?.onEntryChange();
  }

  /** Notifies the holder of a loss now, if that has not happened yet. */
  notifyLoss(): void {
    this.#notifyLoss?.();
  }

  #finish(): void {
    this.#state = { kind: 'gone' };
    this.#predecessors?.stop();
    this.#writer?.stop();
    this.session.members.delete(this);
    if (!this.isKeyForeign) this.session.numbers.free(this.queue.key, this.#number, this.#release?.keptMs);
    this.session.unreserve();
  }
}
