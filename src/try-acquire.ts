/**
 * The try that never joins a queue: one transaction that creates the entry only where the name has none at all.
 *
 * A compare over an empty range is true for `create == 0`, which makes "nobody is there" and "now I am" one step in etcd.
 */
import type { Shared } from './acquire.ts';
import { addMs, msUntil } from './clock.ts';
import type { Waiting } from './caller.ts';
import { Entry } from './entry.ts';
import { EtcdUnavailableError } from './errors.ts';
import { headOf, type QueueRange } from './keys.ts';
import { LeaseNotFoundError, OutcomeUnknownError } from './store/store.ts';

type Attempt = Pick<Waiting<never>, 'value' | 'ttlSeconds' | 'isWaiting'>;

/**
 * Gives `onWon` an entry that etcd has admitted, in the very turn in which that is known; resolves with false where another entry
 * is there, or once `caller` waits no more.
 * @throws {EtcdUnavailableError} nobody answered in time
 */
export async function tryAcquire(shared: Shared, range: QueueRange, caller: Attempt, onWon: (entry: Entry) => void): Promise<boolean> {
  while (caller.isWaiting) {
    const session = await shared.sessions.enter(caller.ttlSeconds, shared.requestTimeoutMs);
    const entry = new Entry(shared, range, session, caller.value, () => undefined);
    try {
      const outcome = await tryWith(shared, range, entry, caller, onWon);
      if (outcome !== 'gone') return outcome === 'won';
    } finally {
      if (!entry.isHeld) entry.abandon();
    }
  }
  return false;
}

async function tryWith(
  shared: Shared,
  range: QueueRange,
  entry: Entry,
  caller: Attempt,
  onWon: (entry: Entry) => void,
): Promise<'won' | 'taken' | 'gone'> {
  const { clock, requestTimeoutMs, heartbeat } = shared;
  const until = addMs(clock.now(), requestTimeoutMs);
  const timeLeft = (): number => Math.max(1, msUntil(until, clock.now()));

  while (caller.isWaiting) {
    const { kind } = entry;
    if (kind === 'new') {
      const isTaken = await create(range, entry, timeLeft());
      if (isTaken) return 'taken';
    } else if (kind === 'unsettled') {
      await entry.settle(timeLeft());
    } else if (kind !== 'queued' || entry.session.isSealed) {
      return 'gone';
    } else if (entry.needsLook) {
      await entry.look();
    } else if (!entry.session.isWellAhead) {
      entry.forgetLook();
      await heartbeat.beat(entry.session);
    } else {
      if (!entry.isAdmitted) return 'taken';
      onWon(entry);
      return 'won';
    }
  }
  return 'gone';

  async function create({ key, rangeEnd }: QueueRange, { session }: Entry, timeoutMs: number): Promise<boolean> {
    try {
      const outcome = await entry.create(
        { compare: [{ key, rangeEnd, target: 'create', op: '=', revision: 0n }], otherwise: [{ range: headOf(range) }] },
        timeoutMs,
      );
      return outcome.kind === 'not-created' && outcome.found[0]?.[0] !== undefined;
    } catch (error) {
      if (error instanceof LeaseNotFoundError) session.end('expired');
      else if (!(error instanceof OutcomeUnknownError)) throw error;
      else if (msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, error.hosts);
      return false;
    }
  }
}
