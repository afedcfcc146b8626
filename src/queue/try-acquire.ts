/**
 * The try that does not wait: one transaction that creates the entries only where each of them is admitted at once.
 *
 * A compare over an empty range is true for `create == 0`, which makes "nobody is there" and "now I am" one step in etcd. Where others of
 * the kind may hold too, the queue is read first, and the step is "nobody has come since". For several names it is all of them or none.
 */
import { findObstacle } from '../entry/admission.ts';
import type { Caller } from './caller.ts';
import { addMs, type Instant, msUntil, within } from '../clock.ts';
import { Entry } from '../entry/entry.ts';
import { EtcdUnavailableError, type HostFailure } from '../errors.ts';
import type { QueueRange } from '../keys.ts';
import { exclusive } from '../kind.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';
import { type Compare, LeaseNotFoundError, OutcomeUnknownError } from '../store/store.ts';
import { buildClearing, type Creation, buildCreationOfAll, buildQueuesRead } from '../entry/transactions.ts';

type Attempt = Pick<Caller<never>, 'options' | 'isWaiting'>;

/** How often somebody may come between the reading of the queues and the creation, before the entries are enqueued as any other. */
const maxConflicts = 3;

/** How a try goes about those who are there: it gives up, or deletes their entries in the step that creates its own. */
export type Manners = 'polite' | 'steal';

/**
 * Gives `onWon` an entry for each queue, all of them admitted, in the very turn in which that is known; resolves with false where
 * somebody is in the way, or once `caller` waits no more.
 * @throws {EtcdUnavailableError} nobody answered in time
 */
export function tryAcquire(
  shared: LockerContext,
  queues: readonly QueueRange[],
  caller: Attempt,
  onWon: (entries: readonly Entry[]) => void,
  manners: Manners = 'polite',
): Promise<boolean> {
  return new Try(shared, queues, caller, onWon, manners).run();
}

class Try {
  readonly #context: LockerContext;
  readonly #queues: readonly QueueRange[];
  readonly #caller: Attempt;
  readonly #onWon: (entries: readonly Entry[]) => void;
  readonly #steals: boolean;
  readonly #until: Instant;
  #hosts: readonly HostFailure[] = [];
  #conflicts = 0;

  constructor(
    shared: LockerContext,
    queues: readonly QueueRange[],
    caller: Attempt,
    onWon: (entries: readonly Entry[]) => void,
    manners: Manners,
  ) {
    this.#steals = manners === 'steal';
    this.#context = shared;
    this.#queues = queues;
    this.#caller = caller;
    this.#onWon = onWon;
    this.#until = addMs(shared.clock.now(), shared.requestTimeoutMs);
  }

  async run(): Promise<boolean> {
    while (this.#caller.isWaiting) {
      const { options: asked } = this.#caller;
      const session = await this.#context.sessions.enter(asked, this.#timeLeft(), this.#queues.length);
      const entries = this.#queues.map((queue) => new Entry(this.#context, queue, session, asked, () => undefined));
      try {
        const outcome = await this.#with(session, entries);
        if (outcome !== 'gone') return outcome === 'won';
      } finally {
        for (const entry of entries) if (!entry.isHeld) entry.abandon();
      }
    }
    return false;
  }

  async #with(session: Session, entries: readonly Entry[]): Promise<'won' | 'taken' | 'gone'> {
    const { clock, heartbeat } = this.#context;
    const are = (kind: Entry['kind']): boolean => entries.every((entry) => entry.kind === kind);
    while (this.#caller.isWaiting) {
      if (are('new') && !session.isSealed) {
        if (await this.#create(session, entries)) return 'taken';
      } else if (entries.some(({ kind }) => kind === 'unsettled')) {
        await this.#settle(entries);
      } else if (!are('queued') || session.isSealed) {
        return 'gone';
      } else if (entries.some(({ needsLook }) => needsLook)) {
        await Promise.all(entries.map((entry) => entry.look()));
      } else if (!session.isWellAhead) {
        for (const entry of entries) entry.forgetLook();
        await within(clock, this.#timeLeft(), heartbeat.beat(session));
      } else {
        if (!entries.every(({ isAdmitted }) => isAdmitted)) return 'taken';
        this.#onWon(entries);
        return 'won';
      }
    }
    return 'gone';
  }

  /** Whether somebody is in the way. */
  async #create(session: Session, entries: readonly Entry[]): Promise<boolean> {
    const { store } = this.#context;
    const { value } = this.#caller.options;
    // In the same turn, if it can be: who calls first is first.
    const creation = this.#atOnce(entries) ?? (await this.#afterLook(entries));
    if (creation === undefined) return true;
    const { gate } = session;
    try {
      const { succeeded, revision, ranges } = await store.commit(buildCreationOfAll(entries, session, value, creation), {
        once: true,
        timeoutMs: this.#timeLeft(),
      });
      if (succeeded) {
        for (const entry of entries) entry.created(revision, []);
        // What was compared or deleted says that each is admitted; without it only a look can tell.
        if (creation.compare.length === 0 && !this.#steals) for (const entry of entries) entry.forgetLook();
        return false;
      }
      if (session.foundGate(ranges[0]?.[0]) !== gate) return false;
      this.#conflicts += 1;
      return this.#caller.options.slots === exclusive;
    } catch (error) {
      if (error instanceof LeaseNotFoundError) session.end('expired');
      else if (error instanceof OutcomeUnknownError) this.#unanswered(error, entries, gate);
      else throw error;
      return false;
    }
  }

  /** The creation where nothing has to be read before. */
  #atOnce(entries: readonly Entry[]): Creation | undefined {
    if (this.#steals) return { compare: [], first: entries.flatMap(buildClearing) };
    return this.#caller.options.slots === exclusive ? { compare: this.#onAll('=', 0n) } : undefined;
  }

  /** The creation where others of the kind may be there, but nobody new since they were read; undefined where somebody is in the way. */
  async #afterLook(entries: readonly Entry[]): Promise<Creation | undefined> {
    const { slots } = this.#caller.options;
    const { revision, ranges } = await this.#context.store.commit(buildQueuesRead(entries), { timeoutMs: this.#timeLeft() });
    const isFree = this.#queues.every((queue, index) => findObstacle(queue, slots, ranges[index] ?? []) === undefined);
    if (!isFree) return undefined;
    return { compare: this.#conflicts < maxConflicts ? this.#onAll('<', revision + 1n) : [] };
  }

  #onAll(op: Compare['op'], revision: bigint): readonly Compare[] {
    return this.#queues.map(({ key, rangeEnd }) => ({ key, rangeEnd, target: 'create', op, revision }));
  }

  #unanswered({ hosts }: OutcomeUnknownError, entries: readonly Entry[], gate: bigint): void {
    this.#hosts = hosts;
    for (const entry of entries) entry.markUnsettled(gate);
  }

  async #settle(entries: readonly Entry[]): Promise<void> {
    // Read once: of a second reading that throws, nobody would await what has begun.
    const timeoutMs = this.#timeLeft();
    try {
      await Promise.all(entries.map((entry) => entry.settle(timeoutMs)));
    } catch (error) {
      if (!(error instanceof EtcdUnavailableError) || error.hosts.length > 0) throw error;
      throw this.#unavailable();
    }
  }

  #timeLeft(): number {
    const left = msUntil(this.#until, this.#context.clock.now());
    if (left <= 0) throw this.#unavailable();
    return left;
  }

  #unavailable(): EtcdUnavailableError {
    return new EtcdUnavailableError(this.#context.requestTimeoutMs, this.#hosts);
  }
}
