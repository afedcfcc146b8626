/**
 * Renews the leases of a locker's sessions, and checks their deadlines when nobody else reads them.
 *
 * All sessions share one timer, which does not keep the process alive. A failed beat is repeated at once at the next host, until the
 * deadline has passed. No response brings a session back after its deadline.
 *
 * A beat takes two round trips. If etcd is far away, beats start earlier and get more time, so that a TTL of six round trips suffices
 * (docs/decisions/016-hosts-and-round-trips.md).
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { OutageLog } from '../outage-log.ts';
import type { Session } from './session.ts';

/** A slow beat gets this multiple of the time that beats have taken. */
const slowBeatFactor = 1.5;
/** So many beats must fit between the start of a beat and the deadline, if that is possible. */
const beatsBeforeDeadline = 3;
const warnEveryMs = 60_000;
/** A deadline is near if less than this part of the TTL is left. */
const nearDeadline = 6;

interface Pulse {
  /** How long beats take, in milliseconds. One fast beat halves it at most. */
  beatMs: number;
  dueAt: Instant;
  beating: Promise<void> | undefined;
}

export class Heartbeat {
  readonly #context: Context;
  readonly #pulses = new Map<Session, Pulse>();
  readonly #slownessLog: OutageLog;
  readonly #deadlineLog: OutageLog;
  #nextTick: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(context: Context) {
    this.#context = context;
    this.#slownessLog = new OutageLog(context.logger, context.clock, warnEveryMs);
    this.#deadlineLog = new OutageLog(context.logger, context.clock, warnEveryMs);
  }

  add(session: Session): void {
    const beatMs = 2 * (this.#context.store.roundTripMs?.() ?? 0);
    const pulse: Pulse = { beatMs, dueAt: this.#nextBeat(session, beatMs), beating: undefined };
    this.#pulses.set(session, pulse);
    this.#scheduleFor(session, pulse);
  }

  remove(session: Session): void {
    this.#pulses.delete(session);
    if (this.#pulses.size === 0) this.#cancelSchedule();
  }

  /** Renews now. Resolves once the session is renewed or has ended. */
  async beat(session: Session): Promise<void> {
    const pulse = this.#pulses.get(session);
    if (pulse === undefined) return;
    await (pulse.beating ??= this.#beat(session, pulse).finally(() => {
      pulse.beating = undefined;
      pulse.dueAt = this.#nextBeat(session, pulse.beatMs);
      if (this.#pulses.has(session)) this.#scheduleFor(session, pulse);
    }));
  }

  /** Counts from the sending of the last renewal that counted, as the deadline does: a slow response does not delay the next beat. */
  #nextBeat({ ttlMs, marginMs, remainingMs }: Session, beatMs: number): Instant {
    const lifeMs = ttlMs - marginMs;
    const afterMs = Math.min((ttlMs / 3) * (1 - Math.random() / 5), lifeMs - beatsBeforeDeadline * beatMs);
    return addMs(this.#context.clock.now(), afterMs - (lifeMs - remainingMs));
  }

  /** Sets the timer for the next check of the session. Only slow beats need it at the very moment when they are due. */
  #scheduleFor(session: Session, { beatMs, dueAt, beating }: Pulse): void {
    const delayMs = session.marginMs / 2;
    const isPunctual = beating === undefined && isSlow(session, beatMs);
    this.#schedule(isPunctual ? Math.max(1, Math.min(delayMs, msUntil(dueAt, this.#context.clock.now()))) : delayMs);
  }

  /** Sets the timer to tick after `delayMs`, or leaves it as it is if it ticks earlier. */
  #schedule(delayMs: number): void {
    const { clock } = this.#context;
    const at = addMs(clock.now(), delayMs);
    if (this.#nextTick !== undefined && msUntil(at, this.#nextTick.at) >= 0) return;
    this.#cancelSchedule();
    const cancel = clock.setTimer(delayMs, () => {
      this.#nextTick = undefined;
      this.#onStandstill(clock.now().monotonicMs - at.monotonicMs);
      this.#tick();
    });
    this.#nextTick = { at, cancel };
  }

  #cancelSchedule(): void {
    this.#nextTick?.cancel();
    this.#nextTick = undefined;
  }

  #tick(): void {
    const now = this.#context.clock.now();
    for (const [session, pulse] of [...this.#pulses]) {
      this.#tickSession(session, pulse, now);
      if (this.#pulses.has(session)) this.#scheduleFor(session, pulse);
    }
  }

  #tickSession(session: Session, pulse: Pulse, now: Instant): void {
    if (!session.checkOpen()) return;
    if (session.idleSince !== undefined && msUntil(addMs(session.idleSince, session.ttlMs), now) <= 0) {
      session.end('expired');
      return;
    }
    for (const member of session.members) member.tick(now);
    if (session.needsRenewal() && msUntil(pulse.dueAt, now) <= 0) void this.beat(session);
  }

  /** Takes in that the timer was late by `lateMs`. That is measured without a timer of its own. */
  #onStandstill(lateMs: number): void {
    const shortest = [...this.#pulses.keys()].filter(isInUse).reduce((ttlMs, session) => Math.min(ttlMs, session.ttlMs), Infinity);
    if (lateMs <= shortest / 3) return;
    const [late, ttl] = [String(Math.round(lateMs)), String(shortest)];
    this.#context.logger.warn(
      `etcd-locker: the event loop stood still for ${late} ms, more than a third of the TTL of ${ttl} ms: ` +
        'it was blocked by code, or the process was suspended; locks are lost if that lasts for longer',
    );
  }

  /** Takes in a renewal that counted after others had failed, when `leftMs` were left until the deadline. */
  #onNearDeadline(session: Session, leftMs: number): void {
    if (leftMs >= session.ttlMs / nearDeadline || !isInUse(session)) return;
    this.#deadlineLog.warn(
      `renewed lease ${session.leaseId} ${String(Math.round(leftMs))} ms before its locks would have been lost, with a TTL of ${String(session.ttlMs)} ms`,
    );
  }

  async #beat(session: Session, pulse: Pulse): Promise<void> {
    for (let failures = 0; session.needsRenewal(); failures += 1) {
      if (await this.#renew(session, pulse, failures)) {
        // The beat does not wait for the audit: the deadline has moved already.
        void session.audit.run();
        return;
      }
      // The first retry goes out at once. The end of the session ends the pause.
      if (failures > 0 && session.checkOpen()) await session.pause(backoffMs(failures));
    }
  }

  async #renew(session: Session, pulse: Pulse, failures: number): Promise<boolean> {
    const { store, clock, logger } = this.#context;
    const sentAt = clock.now();
    const knownGate = session.gate.revision;
    try {
      const renewal = await store.renew(session.leaseId, session.gate.key, limitMs(session, pulse, failures));
      const leftMs = session.remainingMs;
      if (!session.onRenewal(sentAt, knownGate, renewal)) return false;
      // A renewal that is slow without a failure has a warning of its own.
      if (failures > 0) this.#onNearDeadline(session, leftMs);
      this.#onBeatTime(session, pulse, clock.now().monotonicMs - sentAt.monotonicMs);
      return true;
    } catch (error) {
      const leftMs = String(Math.round(session.remainingMs));
      session.onRenewalFailure(error instanceof Error ? error : new Error(String(error)));
      logger.debug(`etcd-locker: cannot renew lease ${session.leaseId}, ${leftMs} ms are left: ${String(error)}`);
      return false;
    }
  }

  #onBeatTime({ leaseId, ttlMs }: Session, pulse: Pulse, tookMs: number): void {
    pulse.beatMs = Math.max(tookMs, (pulse.beatMs + tookMs) / 2);
    if (tookMs <= ttlMs / 4) return;
    const [took, advised] = [Math.ceil(tookMs), 1_000 * Math.ceil((15 * tookMs) / 2_000)];
    this.#slownessLog.warn(
      `renewals of lease ${leaseId} take ${String(took)} ms, close to their limit with a TTL of ${String(ttlMs)} ms; set ttlMs to ${String(advised)} or more`,
    );
  }
}

/** Whether somebody holds or waits with the session. */
const isInUse = ({ members }: Session): boolean => members.size > 0;

/** Whether beats have to start earlier than after a third of the TTL. */
const isSlow = ({ ttlMs, marginMs }: Session, beatMs: number): boolean => ttlMs - marginMs - beatsBeforeDeadline * beatMs < ttlMs / 3;

/** Returns the time that one try to renew gets. A slow response after a failed try may be all that etcd can do. */
function limitMs({ ttlMs, remainingMs }: Session, { beatMs }: Pulse, failures: number): number {
  const wantedMs = Math.max(slowBeatFactor * beatMs, failures > 0 ? ttlMs / 3 : 0);
  return Math.max(ttlMs / 6, Math.min(wantedMs, remainingMs));
}
