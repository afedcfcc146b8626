/**
 * One place in a name's queue: the writes and reads that concern a single key in etcd.
 *
 * A write that creates the key goes out at most once per state of the session's gate. Where no answer came the entry is
 * 'unsettled' until the gate has moved: from then on the key is there or never will be. Every delete and every value compares
 * the revision it means, so that nothing but our own entry is ever touched.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import { type Deferred, deferred } from '../deferred.ts';
import type { LossReason } from '../errors.ts';
import { entryKey, type QueueRange } from '../keys.ts';
import type { ResolvedLockOptions as Asked } from '../options/options.ts';
import { persist } from './persist.ts';
import type { Member, Session } from '../session/session.ts';
import type { Context } from '../context.ts';
import { type KeyValue, OutcomeUnknownError } from '../store/store.ts';
import { type Creation, type CreationOutcome, buildCreation, buildDeletion, buildLook, buildEntryRead } from './transactions.ts';
import { Predecessors } from './predecessors.ts';
import { EntryGoneError, ValueWriter } from './value-writer.ts';

type State =
  | { readonly kind: 'new' }
  | { readonly kind: 'unsettled'; readonly gate: bigint }
  | { readonly kind: 'queued' }
  | { readonly kind: 'held'; readonly onLost: (reason: LossReason) => void }
  | { readonly kind: 'leaving' }
  | { readonly kind: 'gone' };

export class Entry implements Member {
  readonly key: string;
  readonly session: Session;
  readonly #context: Context;
  readonly queue: QueueRange;
  readonly slots: number;
  readonly #number: number;
  #onChange: () => void;
  #value: string;
  #modified = 0n;
  #writer: ValueWriter | undefined;
  /** None once it is held: there is nothing more to wait for. */
  #predecessors: Predecessors | undefined;
  #released: Deferred<void> | undefined;
  #state: State = { kind: 'new' };
  #token = 0n;

  /** The session must have a place taken for it, which the entry gives back. */
  constructor(context: Context, queue: QueueRange, session: Session, { value, slots }: Asked, onChange: () => void) {
    this.#context = context;
    this.queue = queue;
    this.slots = slots;
    this.session = session;
    this.#number = session.numbers.take(queue.key);
    this.key = entryKey(queue, session.leaseId, this.#number, slots);
    this.#onChange = onChange;
    this.#value = value;
    this.#predecessors = new Predecessors(context, queue, slots, session, onChange);
    session.members.add(this);
  }

  get kind(): State['kind'] {
    return this.#state.kind;
  }

  /** The create revision of the key: the fencing token of whoever holds by it. */
  get token(): bigint {
    return this.#token;
  }

  get value(): string {
    return this.#writer?.value ?? this.#value;
  }

  /** Whether its value is certainly this one. */
  hasValue(value: string): boolean {
    return this.#writer?.isCertain !== false && this.value === value;
  }

  get isHeld(): boolean {
    return this.#state.kind === 'held';
  }

  get isSettled(): boolean {
    return this.isHeld && this.#writer?.isBusy !== true;
  }

  /** Whether the last look found it admitted and nothing has happened since that calls for another. */
  get isAdmitted(): boolean {
    return this.#state.kind === 'queued' && this.#predecessors?.isAdmitted === true;
  }

  get needsLook(): boolean {
    return this.#predecessors?.needsLook === true;
  }

  /**
   * Sends a write that creates the entry, once.
   * @throws {OutcomeUnknownError} no answer came; `settle` finds out
   */
  async create(creation: Creation, timeoutMs: number): Promise<CreationOutcome> {
    const { gate } = this.session;
    let answer;
    try {
      answer = await this.#context.store.commit(buildCreation(this, this.session, this.value, creation), { once: true, timeoutMs });
    } catch (error) {
      if (error instanceof OutcomeUnknownError) this.markUnsettled(gate);
      throw error;
    }
    if (answer.succeeded) {
      this.created(answer.revision, answer.ranges[0] ?? []);
      return 'created';
    }
    const [[sent] = [], [gateNow] = []] = answer.ranges;
    if (sent?.leaseId === this.session.leaseId) {
      this.#enqueued(sent);
      return 'created';
    }
    return this.session.foundGate(gateNow) === gate ? 'not-created' : 'gate-moved';
  }

  /** Its key was created at `revision`, when `ahead` were before it. */
  created(revision: bigint, ahead: readonly KeyValue[]): void {
    this.#enqueued({ createRevision: revision, modRevision: revision });
    this.#predecessors?.looked(revision, ahead);
  }

  /** A write that compared `gate` may create its key, now or later. */
  markUnsettled(gate: bigint): void {
    if (this.#state.kind === 'new') this.#state = { kind: 'unsettled', gate };
  }

  /**
   * Finds out what became of a creation that was not answered: afterwards the entry is queued, new again or gone.
   * @throws {EtcdUnavailableError} nobody answered in time; it is still unsettled
   */
  async settle(timeoutMs: number): Promise<void> {
    if (this.#state.kind !== 'unsettled') return;
    const { gate } = this.#state;
    const { clock } = this.#context;
    const until = addMs(clock.now(), timeoutMs);
    await this.session.settle(gate, timeoutMs);
    const own = await this.#read(Math.max(1, msUntil(until, clock.now())));
    if (this.kind !== 'unsettled') return;
    if (own === undefined) this.#state = { kind: 'new' };
    else this.#enqueued(own);
  }

  /** Reads who is before it; counts it lost where it is not there any more. */
  async look(): Promise<void> {
    this.#predecessors?.startLook();
    const { revision, ranges } = await this.#context.store.commit(buildLook(this, this.#token));
    if (this.#state.kind !== 'queued') return;
    const [[own] = [], ahead = []] = ranges;
    if (own?.createRevision === this.#token) this.#predecessors?.looked(revision, ahead);
    else this.lose('deleted');
  }

  /** What is known of the queue does not count any more: `isAdmitted` is false until the next look. */
  forgetLook(): void {
    this.#predecessors?.forget();
  }

  #enqueued({ createRevision, modRevision }: Pick<KeyValue, 'createRevision' | 'modRevision'>): void {
    if (this.#state.kind !== 'new' && this.#state.kind !== 'unsettled') return;
    this.#state = { kind: 'queued' };
    this.#token = createRevision;
    this.#modified = modRevision;
  }

  /** All of its queue that was created before `token` was deleted then: what was seen of the time before does not count. */
  loseStolen(token: bigint): void {
    if (this.isHeld && this.#token < token) this.lose('deleted');
    else this.#predecessors?.changed(token);
  }

  /** Watches for the turn to come; `onChange` is called when it is time for another look. */
  watchPredecessors(): void {
    this.#predecessors?.watch();
  }

  tick(now: Instant): void {
    if (this.#state.kind === 'queued') this.#predecessors?.tick(now);
  }

  setValue(value: string): Promise<void> {
    if (this.kind !== 'queued' && this.kind !== 'held') return Promise.reject(new EntryGoneError());
    this.#writer ??= new ValueWriter(this.#context, this, this.#value, this.#modified, () => {
      this.lose('deleted');
    });
    return this.#writer.write(value);
  }

  /** Makes it somebody's lock; `onLost` is called at most once, and never after `leave`. */
  hold(onLost: (reason: LossReason) => void): void {
    this.#predecessors?.stop();
    this.#predecessors = undefined;
    this.#onChange = () => undefined;
    // In the very turn in which it was won the clocks may jump, and another lock of its lease be read first.
    if (this.kind === 'gone') onLost(this.session.checkDeadline() ?? 'deleted');
    else this.#state = { kind: 'held', onLost };
  }

  /** Reads the clocks; who is told of the end of a lease first may ask for the others of it, which are told after. */
  checkDeadline(): void {
    const reason = this.session.checkDeadline();
    if (reason !== undefined) this.lose(reason);
  }

  async verify(): Promise<void> {
    const own = await this.#read(this.#context.requestTimeoutMs);
    if (this.isSettled && own?.createRevision !== this.#token) this.lose('deleted');
  }

  async #read(timeoutMs: number): Promise<KeyValue | undefined> {
    const { ranges } = await this.#context.store.commit(buildEntryRead(this), { timeoutMs });
    return ranges[0]?.[0];
  }

  /** The promise of `leave` and `replaced`: settled when etcd has confirmed or the session has ended. */
  get released(): Promise<void> {
    if (this.#released === undefined) {
      this.#released = deferred();
      this.#released.promise.catch(() => undefined);
      if (this.kind === 'gone') this.#released.resolve();
    }
    return this.#released.promise;
  }

  /** Counts it as not held any more; `leave` or `replaced` has to follow. */
  markReleased(): void {
    this.#predecessors?.stop();
    this.#writer?.stop();
    if (this.#state.kind === 'held' || this.#state.kind === 'queued') this.#state = { kind: 'leaving' };
  }

  /** Another entry's creation has deleted it. */
  confirmRelease(): void {
    this.#finish();
  }

  /** Deletes it, again and again until etcd has confirmed or the session has ended; `left` rejects where etcd refuses. */
  release(): void {
    this.markReleased();
    void this.#delete();
  }

  async #delete(): Promise<void> {
    try {
      await persist(
        this.session,
        () => this.kind === 'leaving',
        () => this.#context.store.commit(buildDeletion(this, this.#token)),
      );
      this.#finish();
    } catch (error) {
      // The place stays taken: only the end of the lease frees the entry now.
      this.#released?.reject(error);
    }
  }

  /** Nobody wants it any more: sees to it that it is not in etcd and never will be. */
  abandon(): void {
    void this.#abandon().catch((error: unknown) => {
      this.#context.logger.warn(`etcd-locker: ${this.key} was not deleted, it ends with its lease: ${String(error)}`);
    });
  }

  async #abandon(): Promise<void> {
    this.#predecessors?.stop();
    await persist(
      this.session,
      () => this.kind === 'unsettled',
      () => this.settle(this.#context.requestTimeoutMs),
    );
    if (this.kind === 'new') this.#finish();
    if (this.kind !== 'queued') return;
    this.release();
    await this.released;
  }

  sessionSealed(): void {
    this.#onChange();
  }

  lose(reason: LossReason): void {
    const state = this.#state;
    this.#finish();
    if (state.kind === 'held') state.onLost(reason);
    this.#onChange();
  }

  #finish(): void {
    if (this.#state.kind === 'gone') return;
    this.#state = { kind: 'gone' };
    this.#predecessors?.stop();
    this.#writer?.stop();
    this.session.members.delete(this);
    this.session.numbers.free(this.queue.key, this.#number);
    this.session.unreserve();
    this.#released?.resolve();
  }
}
