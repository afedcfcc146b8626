/**
 * The try that never joins a queue: one transaction that creates the entry only where the name has none at all.
 *
 * A compare over an empty range is true for `create == 0`, which makes "nobody is there" and "now I am" one step in etcd.
 */
import type { Shared } from './acquire.ts';
import type { Waiting } from './caller.ts';
import { addMs, type Instant, msUntil, within } from './clock.ts';
import { Entry } from './entry.ts';
import { EtcdUnavailableError, type HostFailure } from './errors.ts';
import { headOf, type QueueRange } from './keys.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from './store/store.ts';

type Attempt = Pick<Waiting<never>, 'value' | 'ttlSeconds' | 'isWaiting'>;

/**
 * Gives `onWon` an entry that etcd has admitted, in the very turn in which that is known; resolves with false where another entry
 * is there, or once `caller` waits no more.
 * @throws {EtcdUnavailableError} nobody answered in time
 */
export function tryAcquire(shared: Shared, range: QueueRange, caller: Attempt, onWon: (entry: Entry) => void): Promise<boolean> {
  return new Try(shared, range, caller, onWon).run();
}

class Try {
  readonly #shared: Shared;
  readonly #range: QueueRange;
  readonly #caller: Attempt;
  readonly #onWon: (entry: Entry) => void;
  readonly #until: Instant;
  #hosts: readonly HostFailure[] = [];

  constructor(shared: Shared, range: QueueRange, caller: Attempt, onWon: (entry: Entry) => void) {
    this.#shared = shared;
    this.#range = range;
    this.#caller = caller;
    this.#onWon = onWon;
    this.#until = addMs(shared.clock.now(), shared.requestTimeoutMs);
  }

  async run(): Promise<boolean> {
    const { sessions } = this.#shared;
    while (this.#caller.isWaiting) {
      const session = await sessions.enter(this.#caller.ttlSeconds, this.#timeLeft());
      const entry = new Entry(this.#shared, this.#range, session, this.#caller.value, () => undefined);
      try {
        const outcome = await this.#with(entry);
        if (outcome !== 'gone') return outcome === 'won';
      } finally {
        if (!entry.isHeld) entry.abandon();
      }
    }
    return false;
  }

  async #with(entry: Entry): Promise<'won' | 'taken' | 'gone'> {
    const { clock, heartbeat } = this.#shared;
    while (this.#caller.isWaiting) {
      const { kind, session } = entry;
      if (kind === 'new') {
        if (await this.#create(entry)) return 'taken';
      } else if (kind === 'unsettled') {
        await this.#settle(entry);
      } else if (kind !== 'queued' || session.isSealed) {
        return 'gone';
      } else if (entry.needsLook) {
        await entry.look();
      } else if (!session.isWellAhead) {
        entry.forgetLook();
        await within(clock, this.#timeLeft(), heartbeat.beat(session));
      } else {
        if (!entry.isAdmitted) return 'taken';
        this.#onWon(entry);
        return 'won';
      }
    }
    return 'gone';
  }

  /** Whether another entry is there. */
  async #create(entry: Entry): Promise<boolean> {
    const empty = { ...this.#range, target: 'create', op: '=', revision: 0n } as const;
    try {
      const outcome = await entry.create({ compare: [empty], otherwise: [{ range: headOf(this.#range) }] }, this.#timeLeft());
      return outcome.kind === 'not-created' && outcome.found[0]?.[0] !== undefined;
    } catch (error) {
      if (error instanceof LeaseNotFoundError) entry.session.end('expired');
      else if (error instanceof OutcomeUnknownError) this.#hosts = error.hosts;
      else throw error;
      return false;
    }
  }

  async #settle(entry: Entry): Promise<void> {
    try {
      await entry.settle(this.#timeLeft());
    } catch (error) {
      if (!(error instanceof EtcdUnavailableError) || error.hosts.length > 0) throw error;
      throw this.#unavailable();
    }
  }

  #timeLeft(): number {
    const left = msUntil(this.#until, this.#shared.clock.now());
    if (left <= 0) throw this.#unavailable();
    return left;
  }

  #unavailable(): EtcdUnavailableError {
    return new EtcdUnavailableError(this.#shared.requestTimeoutMs, this.#hosts);
  }
}
