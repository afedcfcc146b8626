/** The time that a session has left when it gives out a lock, and the renewal if that is too little. */
import { msUntil } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Session } from '../session/session.ts';

type RenewalContext = Pick<LockerContext, 'clock' | 'heartbeat'>;

/** Both are sent in one tick, as a rule: a renewal that fails is sent again. */
const sameTickMs = 5;

/**
 * Renews the session, and looks at the same time. Returns whether the look was sent no earlier than the renewal that counts: then it is no
 * older than the deadline.
 */
export async function renewAndLook(
  { clock, heartbeat }: RenewalContext,
  session: Session,
  look: (() => Promise<unknown>) | undefined,
): Promise<boolean> {
  const sentAt = clock.now();
  await Promise.all([look?.(), heartbeat.beat(session)]);
  const lookAgeMs = -msUntil(sentAt, clock.now());
  const renewalAgeMs = session.ttlMs - session.marginMs - session.remainingMs;
  return look === undefined || renewalAgeMs > lookAgeMs - sameTickMs;
}

/** Whether a watch reports each deletion of the entry since its last look. */
export const isWatched = ({ predecessors }: Entry): boolean => predecessors?.isOwnCovered === true;

export class HoldTime {
  /** The entry whose session was renewed to hold it. */
  #renewedFor: Entry | undefined;

  /** Whether the entry can give out its lock now: admitted, with the value of the caller, in a session that suits it. */
  canHold(entry: Entry, options: ResolvedLockOptions): boolean {
    const isReady = entry.isAdmitted && !entry.needsLook && entry.hasValue(options.value);
    return isReady && !entry.session.isSealed && entry.session.suits(options) && this.isEnough(entry, options);
  }

  /** Whether enough of the TTL is left. A lock with a private lease starts with nearly all of it. */
  isEnough(entry: Entry, { lease }: Pick<ResolvedLockOptions, 'lease'>): boolean {
    const { session } = entry;
    return session.isWellAhead && (lease === undefined || session.isFresh || this.#renewedFor === entry);
  }

  /**
   * Renews the session. A look before the renewal may be old, so it is repeated. That happens once: otherwise, with slow looks, the
   * deadline would come too near during each look, and renewals and looks would alternate for ever. From then on the watch on the entry
   * reports its end. Without it, each renewal is sent together with a look.
   */
  async renew(entry: Entry, context: RenewalContext, look: () => Promise<void>): Promise<void> {
    const isFirst = this.#renewedFor !== entry;
    if (isFirst) entry.predecessors?.watchOwn();
    const wasWatched = isWatched(entry);
    if (isFirst || !wasWatched) entry.forgetLook();
    const isLookNew = await renewAndLook(context, entry.session, isFirst || wasWatched ? undefined : look);
    // Meanwhile the look of another acquisition may have taken this entry along.
    if (isFirst || !isLookNew || (wasWatched && !isWatched(entry))) entry.forgetLook();
    this.#renewedFor = entry;
  }

  /** The entry waits, so the next admission counts anew. */
  forget(): void {
    this.#renewedFor = undefined;
  }
}
