/** The sessions of one locker: one per TTL and per thousand entries, and one for each private lease. All callers that need it share it. */
import { backoffMs } from '../backoff.ts';
import { addMs, msUntil, waitAtMost } from '../clock.ts';
import type { Context } from '../context.ts';
import { EtcdUnavailableError, type HostFailure, LeaseNotFoundError, LockerClosedError } from '../errors.ts';
import { entryKey } from '../keys.ts';
import { exclusive } from '../kind.ts';
import { Pauses } from '../pauses.ts';
import { GateWatch } from './gate-watch.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { LeaseWanted } from './member.ts';
import { Session } from './session.ts';
import { ShortTtls } from './short-ttls.ts';

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
  readonly #shortTtls: ShortTtls;
  readonly #revocations = new Set<Promise<void>>();
  readonly #pauses: Pauses;
  #hasWarnedOfTtl = false;
  #isClosed = false;

  constructor(context: Context, heartbeat: Heartbeat) {
    this.#context = context;
    this.#heartbeat = heartbeat;
    this.#shortTtls = new ShortTtls(context);
    this.#pauses = new Pauses(context.clock);
  }

  /**
   * Returns an open session with `count` reservations.
   * @throws {EtcdUnavailableError} no session could be opened in time, or no session of that TTL can be kept
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
      if (found === undefined) this.#shortTtls.check(wanted.ttlSeconds);
      const session = found ?? this.#open(wanted);
      session.reserve(count);
      const opening = this.#sessions.get(session) ?? Promise.resolve();
      try {
        // The attempt goes on for its own time: other callers may need the session.
        if (!session.checkOpen()) await waitAtMost(clock, Math.max(0, msUntil(until, clock.now())), opening);
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

  /** Returns the keys of released entries that etcd keeps until the end of their minimum holds. */
  *keptKeys(): Generator<string, void, undefined> {
    for (const { leaseId, numbers } of this.#sessions.keys()) {
      for (const { queue, n } of numbers.kept) yield entryKey({ key: queue }, leaseId, n, exclusive);
    }
  }

  #find(wanted: LeaseWanted, count: number): Session | undefined {
    for (const session of this.#byShareKey.get(shareKey(wanted)) ?? []) {
      const hasRoom = !session.isSealed && session.reservations + count <= maxReservations;
      if (hasRoom && (session.isOpening || session.checkOpen())) return session;
    }
    return undefined;
  }

  #open(wanted: LeaseWanted): Session {
    const startedAt = this.#context.clock.now();
    const session: Session = new Session(this.#context, wanted, {
      onEnd: (ended, reason) => {
        gateWatch.stop();
        this.#shortTtls.onEnd(ended, startedAt);
        this.#remove(ended, shareKey(wanted));
        const moves = [...ended.members].flatMap((member) => member.beforeRevocation(reason) ?? []);
        if (ended.wasGranted) void this.#revoke(ended, moves);
        else this.#revokeOnceGranted(ended, opening);
      },
      onOccupied: () => {
        gateWatch.start();
      },
    });
    const gateWatch = new GateWatch(this.#context, session, () => void this.#heartbeat.beat(session));
    const opening: Promise<void> = session.open().then(
      () => {
        if (session.checkOpen()) this.#heartbeat.add(session);
        this.#warnOfLongerTtl(session);
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

  /** Says once that a lock of a process that dies stays taken for longer than was asked for. */
  #warnOfLongerTtl({ ttlSeconds, grantedMs }: Session): void {
    if (grantedMs <= ttlSeconds * 1_000 || this.#hasWarnedOfTtl) return;
    this.#hasWarnedOfTtl = true;
    const grantedSeconds = String(grantedMs / 1_000);
    this.#context.logger.warn(
      `etcd-locker: asked for leases of ${String(ttlSeconds)} s, got ${grantedSeconds} s: etcd grants no less, because of its election timeout. ` +
        `The locks of a process that dies stay taken for ${grantedSeconds} s`,
    );
  }

  #remove(session: Session, key: number | object): void {
    this.#heartbeat.remove(session);
    this.#sessions.delete(session);
    const sharing = this.#byShareKey.get(key);
    sharing?.delete(session);
    if (sharing?.size === 0) this.#byShareKey.delete(key);
  }

  // The last caller of a private lease may give up before etcd responds to the grant.
  #revokeOnceGranted(session: Session, opening: Promise<void>): void {
    const revocation = opening
      .catch(() => undefined)
      .then(async () => {
        if (session.wasGranted) await this.#revoke(session);
      })
      .finally(() => this.#revocations.delete(revocation));
    this.#revocations.add(revocation);
  }

  // The lease may live on in etcd after a lost response to a renewal. Its entries would block others for a TTL.
  #revoke(session: Session, moves: readonly Promise<void>[] = []): Promise<void> {
    const { store, logger } = this.#context;
    const revoke = (): Promise<void> => store.revoke(session.leaseId);
    const revocation = (moves.length === 0 ? revoke() : Promise.all(moves).then(revoke))
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
    return revocation;
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
