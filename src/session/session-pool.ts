/** The sessions of one locker: one per TTL in use and per thousand entries, opened once however many callers race for it. */
import { addMs, longestTimerMs, msUntil, within } from '../clock.ts';
import { EtcdUnavailableError, type HostFailure, LockerClosedError } from '../errors.ts';
import type { Heartbeat } from './heartbeat.ts';
import { type LeaseWanted, Session } from './session.ts';
import type { Context } from '../context.ts';
import { LeaseNotFoundError } from '../store/store.ts';

/** A put under auth costs etcd time for every key of the lease, and a revoke deletes them all at once. */
const maxReservations = 1_000;

export class SessionPool {
  readonly #context: Context;
  readonly #heartbeat: Heartbeat;
  readonly #opened = new Map<Session, Promise<void>>();
  readonly #revoking = new Set<Promise<void>>();
  #closed = false;

  constructor(context: Context, heartbeat: Heartbeat) {
    this.#context = context;
    this.#heartbeat = heartbeat;
  }

  /**
   * A session with places taken in it, each to be given back by `leave`.
   * @throws {EtcdUnavailableError} none could be opened in time
   * @throws {LockerClosedError} the locker was closed
   */
  async enter(wanted: LeaseWanted, timeoutMs: number, places = 1): Promise<Session> {
    const { clock, requestTimeoutMs } = this.#context;
    const until = addMs(clock.now(), timeoutMs);
    let hosts: readonly HostFailure[] = [];
    for (;;) {
      const found = this.#find(wanted, places);
      // Not before: it reads the clocks, and who hears of a loss by that may close the locker.
      if (this.#closed) throw new LockerClosedError();
      const session = found ?? this.#open(wanted);
      session.reserve(places);
      const opened = this.#opened.get(session) ?? Promise.resolve();
      // The first attempt has a limit of its own, and who joined it some time later hears of its end before his own is over.
      const limitMs = hosts.length > 0 ? msUntil(until, clock.now()) : longestTimerMs;
      try {
        if (!session.isOpen) await within(clock, Math.max(0, limitMs), opened);
        if (session.isOpen && !session.isSealed) return session;
        this.#unreserve(session, places);
      } catch (error) {
        this.#unreserve(session, places);
        // The lease was over before its gate stood, as where etcd answers more slowly than the TTL: a new one, then.
        if (!(error instanceof LeaseNotFoundError)) {
          // Somebody else's attempt may have failed in the middle of our time.
          if (found === undefined || !(error instanceof EtcdUnavailableError)) throw error;
          ({ hosts } = error);
        }
      }
      if (msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, hosts);
    }
  }

  /** As `enter`, but only where it can be had at once and is well ahead of its deadline. */
  enterAtOnce(wanted: LeaseWanted): Session | undefined {
    const session = this.#find(wanted, 1);
    if (session?.isWellAhead !== true) return undefined;
    session.reserve();
    return session;
  }

  /** The lease of its own, once every lock that it is for has been acquired, is not renewed any more. */
  endRenewal(lease: object): void {
    for (const session of this.#opened.keys()) if (session.owner === lease) session.endRenewal();
  }

  #unreserve(session: Session, places: number): void {
    for (let place = 0; place < places; place += 1) session.unreserve();
  }

  #find(wanted: LeaseWanted, places: number): Session | undefined {
    for (const session of this.#opened.keys()) {
      if (session.suits(wanted) && session.reservations + places <= maxReservations && !session.hasEnded && !session.isSealed)
        return session;
    }
    return undefined;
  }

  #open(wanted: LeaseWanted): Session {
    const session = new Session(this.#context, wanted, (ended) => {
      this.#opened.delete(ended);
      this.#heartbeat.remove(ended);
      if (ended.wasGranted) this.#revoke(ended);
    });
    const opened = session.open().then(
      () => {
        if (session.isOpen) this.#heartbeat.add(session);
      },
      (error: unknown) => {
        session.end('expired');
        throw error;
      },
    );
    this.#opened.set(session, opened);
    opened.catch(() => undefined);
    return session;
  }

  // An ended session's lease may still live in etcd, where a renewal's answer was lost: its entries would only be in the way.
  #revoke(session: Session): void {
    const { store, logger } = this.#context;
    const revoked = store
      .revoke(session.leaseId)
      .catch((error: unknown) => {
        logger.warn(`etcd-locker: lease ${session.leaseId} was not revoked, it ends by itself: ${String(error)}`);
      })
      .finally(() => this.#revoking.delete(revoked));
    this.#revoking.add(revoked);
  }

  /** Ends every session and waits until etcd has answered the revokes or failed to. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(
      [...this.#opened].map(async ([session, opened]) => {
        // Ended before its grant was answered, it would not be revoked: the revoke could overtake the grant.
        if (!session.wasGranted) await opened.catch(() => undefined);
        session.end('closed');
      }),
    );
    await Promise.all(this.#revoking);
  }
}
