/** The sessions of one locker: one per TTL and per thousand entries, and one for each private lease. All callers that need it share it. */
import { addMs, longestTimerMs, msUntil, waitAtMost } from '../clock.ts';
import { backoffMs } from '../backoff.ts';
import type { Context } from '../context.ts';
import { EtcdUnavailableError, type HostFailure, LockerClosedError } from '../errors.ts';
import { Pauses } from '../pauses.ts';
import { LeaseNotFoundError } from '../store/store.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { LeaseWanted } from './member.ts';
import { Session } from './session.ts';

/** Under authentication each put costs etcd time for every key of its lease, and a revocation deletes all keys at once. */
const maxReservations = 1_000;

/** Two calls may share a session if these are equal. */
const shareKey = ({ ttlSeconds, lease }: LeaseWanted): number | object => lease ?? ttlSeconds;

export class SessionPool {
  readonly #context: Context;
  readonly #heartbeat: Heartbeat;
  /** The sessions that have not ended, with the promise of their opening. */
  readonly #sessions = new Map<Session, Promise<void>>();
  readonly #byShareKey = new Map<number | object, Set<Session>>();
  readonly #revocations = new Set<Promise<void>>();
  readonly #pauses: Pauses;
  #isClosed = false;

  constructor(context: Context, heartbeat: Heartbeat) {
    this.#context = context;
    this.#heartbeat = heartbeat;
    this.#pauses = new Pauses(context.clock);
  }

  /**
   * Returns an open session with `count` reservations.
   * @throws {EtcdUnavailableError} no session could be opened in time
   * @throws {LockerClosedError} the locker was closed
   */
  async enter(wanted: LeaseWanted, timeoutMs: number, count = 1): Promise<Session> {
    const { clock, requestTimeoutMs } = this.#context;
    const until = addMs(clock.now(), timeoutMs);
    let hosts: readonly HostFailure[] = [];
    for (let rounds = 0; ; rounds += 1) {
      if (rounds > 1) await this.#pauses.wait(backoffMs(rounds - 2));
      if (this.#isClosed) throw new LockerClosedError();
      const found = this.#find(wanted, count);
      const session = found ?? this.#open(wanted);
      session.reserve(count);
      const opening = this.#sessions.get(session) ?? Promise.resolve();
      // The first attempt has a time limit of its own. A caller that joined it later may still have time after it failed.
      const limitMs = hosts.length > 0 ? msUntil(until, clock.now()) : longestTimerMs;
      try {
        if (!session.checkOpen()) await waitAtMost(clock, Math.max(0, limitMs), opening);
        if (session.checkOpen() && !session.isSealed) return session;
        session.unreserve(count);
      } catch (error) {
        session.unreserve(count);
        // The lease ended before its gate was created, because etcd responds more slowly than the TTL: open another one.
        if (!(error instanceof LeaseNotFoundError)) {
          // The attempt of another caller may fail while this caller still has time.
          if (found === undefined || !(error instanceof EtcdUnavailableError)) throw error;
          ({ hosts } = error);
        }
      }
      if (msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, hosts);
    }
  }

  /** Returns a session with one reservation, if there is an open one whose deadline is well ahead. */
  enterAtOnce(wanted: LeaseWanted): Session | undefined {
    const session = this.#find(wanted, 1);
    if (session?.isWellAhead !== true) return undefined;
    session.reserve();
    return session;
  }

  /** Stops the renewals of a private lease, once all locks that it is for are acquired. */
  endRenewal(lease: object): void {
    for (const session of this.#byShareKey.get(lease) ?? []) session.endRenewal();
  }

  #find(wanted: LeaseWanted, count: number): Session | undefined {
    for (const session of this.#byShareKey.get(shareKey(wanted)) ?? []) {
      const hasRoom = !session.isSealed && session.reservations + count <= maxReservations;
      if (hasRoom && (session.isOpening || session.checkOpen())) return session;
    }
    return undefined;
  }

  #open(wanted: LeaseWanted): Session {
    const session = new Session(this.#context, wanted, (ended) => {
      this.#remove(ended, shareKey(wanted));
      if (ended.wasGranted) this.#revoke(ended);
    });
    const opening = session.open().then(
      () => {
        if (session.checkOpen()) this.#heartbeat.add(session);
      },
      (error: unknown) => {
        session.end('expired');
        throw error;
      },
    );
    opening.catch(() => undefined);
    this.#sessions.set(session, opening);
    const sharing = this.#byShareKey.get(shareKey(wanted)) ?? new Set();
    this.#byShareKey.set(shareKey(wanted), sharing.add(session));
    return session;
  }

  #remove(session: Session, key: number | object): void {
    this.#heartbeat.remove(session);
    this.#sessions.delete(session);
    const sharing = this.#byShareKey.get(key);
    sharing?.delete(session);
    if (sharing?.size === 0) this.#byShareKey.delete(key);
  }

  // The lease may live on in etcd after a lost response to a renewal. Its entries would block others for a TTL.
  #revoke(session: Session): void {
    const { store, logger } = this.#context;
    const revocation = store
      .revoke(session.leaseId)
      .then(
        () => {
          session.confirmLeaseOver();
        },
        (error: unknown) => {
          logger.warn(`etcd-locker: cannot revoke lease ${session.leaseId}, it ends by its TTL: ${String(error)}`);
        },
      )
      .finally(() => this.#revocations.delete(revocation));
    this.#revocations.add(revocation);
  }

  /** Ends every session. Resolves once etcd has responded to the revocations, or failed to. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pauses.end();
    await Promise.all(
      [...this.#sessions].map(async ([session, opening]) => {
        // A revocation that is sent before the response to the grant could overtake the grant.
        if (!session.wasGranted) await opening.catch(() => undefined);
        session.end('closed');
      }),
    );
    await Promise.all(this.#revocations);
  }
}
