/**
 * Renews the leases of a locker's sessions, and checks their deadlines when nobody else reads them.
 *
 * All sessions share one timer, which does not keep the process alive. A failed beat is repeated at once at the next host, until the
 * deadline has passed. No response brings a session back after its deadline.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import type { Session } from './session.ts';

interface Pulse {
  dueAt: Instant;
  beating: Promise<void> | undefined;
}

export class Heartbeat {
  readonly #context: Context;
  readonly #pulses = new Map<Session, Pulse>();
  #nextTick: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  add(session: Session): void {
    this.#pulses.set(session, { dueAt: this.#nextBeat(session), beating: undefined });
    this.#schedule(session.marginMs / 2);
  }

  remove(session: Session): void {
    this.#pulses.delete(session);
    if (this.#pulses.size === 0) this.#cancelSchedule();
  }

  /** Renews now. Resolves once the session is renewed or has ended. */
  async beat(session: Session): Promise<void> {
    const pulse = this.#pulses.get(session);
    if (pulse === undefined) return;
    await (pulse.beating ??= this.#beat(session).finally(() => {
      pulse.beating = undefined;
      pulse.dueAt = this.#nextBeat(session);
    }));
  }

  /** Counts from the sending of the last renewal that counted, as the deadline does: a slow response does not delay the next beat. */
  #nextBeat({ ttlMs, marginMs, remainingMs }: Session): Instant {
    const sentAgoMs = ttlMs - marginMs - remainingMs;
    return addMs(this.#context.clock.now(), (ttlMs / 3) * (1 - Math.random() / 5) - sentAgoMs);
  }

  /** Sets the timer to tick after `delayMs`, or leaves it as it is if it ticks earlier. */
  #schedule(delayMs: number): void {
    const { clock } = this.#context;
    const at = addMs(clock.now(), delayMs);
    if (this.#nextTick !== undefined && msUntil(at, this.#nextTick.at) >= 0) return;
    this.#cancelSchedule();
    const cancel = clock.setTimer(delayMs, () => {
      this.#nextTick = undefined;
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
    let delayMs = Infinity;
    for (const [session, pulse] of [...this.#pulses]) {
      this.#tickSession(session, pulse, now);
      if (this.#pulses.has(session)) delayMs = Math.min(delayMs, session.marginMs / 2);
    }
    if (this.#pulses.size > 0) this.#schedule(delayMs);
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

  async #beat(session: Session): Promise<void> {
    for (let failures = 0; session.needsRenewal(); failures += 1) {
      if (await this.#renew(session)) {
        // The beat does not wait for the audit: the deadline has moved already.
        void session.audit.run();
        return;
      }
      // The first retry goes out at once. The end of the session ends the pause.
      if (failures > 0 && session.checkOpen()) await session.pause(backoffMs(failures));
    }
  }

  async #renew(session: Session): Promise<boolean> {
    const { store, clock, logger } = this.#context;
    const sentAt = clock.now();
    const knownGate = session.gate.revision;
    try {
      return session.onRenewal(sentAt, knownGate, await store.renew(session.leaseId, session.gate.key, session.ttlMs / 6));
    } catch (error) {
      const leftMs = String(Math.round(session.remainingMs));
      session.onRenewalFailure(error instanceof Error ? error : new Error(String(error)));
      logger.debug(`etcd-locker: cannot renew lease ${session.leaseId}, ${leftMs} ms are left: ${String(error)}`);
      return false;
    }
  }
}
