/**
 * Renews the sessions' leases, and looks at their deadlines where nobody else reads them.
 *
 * One timer for all of a locker's sessions, which does not keep the process alive. A beat that fails is repeated at once at the
 * next host, as long as the deadline has not passed; no answer, however late or friendly, brings a session back after it.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Session } from './session.ts';
import type { Context } from '../context.ts';

interface Pulse {
  dueAt: Instant;
  beating: Promise<void> | undefined;
}

export class Heartbeat {
  readonly #context: Context;
  readonly #pulses = new Map<Session, Pulse>();
  #tick: { readonly at: Instant; readonly cancel: () => void } | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  add(session: Session): void {
    this.#pulses.set(session, { dueAt: this.#nextBeat(session), beating: undefined });
    this.#schedule();
  }

  remove(session: Session): void {
    this.#pulses.delete(session);
    if (this.#pulses.size === 0) this.#cancelSchedule();
  }

  /** Renews now; resolves when it is renewed or has ended. */
  async beat(session: Session): Promise<void> {
    const pulse = this.#pulses.get(session);
    if (pulse === undefined) return;
    await (pulse.beating ??= this.#beat(session).finally(() => {
      pulse.beating = undefined;
      pulse.dueAt = this.#nextBeat(session);
    }));
  }

  /** Counted from the sending of what was answered last, as the deadline is: a slow answer does not put off the next beat. */
  #nextBeat({ ttlMs, marginMs, remainingMs }: Session): Instant {
    const sentAgoMs = ttlMs - marginMs - remainingMs;
    return addMs(this.#context.clock.now(), (ttlMs / 3) * (1 - Math.random() / 5) - sentAgoMs);
  }

  #schedule(): void {
    const { clock } = this.#context;
    const at = addMs(clock.now(), Math.min(...[...this.#pulses.keys()].map(({ marginMs }) => marginMs / 2)));
    // Never later than it was to be: sessions that come in quick succession must not put it off.
    if (this.#tick !== undefined && msUntil(at, this.#tick.at) >= 0) return;
    this.#cancelSchedule();
    const cancel = clock.setTimer(msUntil(at, clock.now()), () => {
      this.#tick = undefined;
      this.#tickAll();
    });
    this.#tick = { at, cancel };
  }

  #cancelSchedule(): void {
    this.#tick?.cancel();
    this.#tick = undefined;
  }

  #tickAll(): void {
    const now = this.#context.clock.now();
    for (const [session, pulse] of [...this.#pulses]) {
      if (!session.isOpen) continue;
      if (session.idleSince !== undefined && msUntil(addMs(session.idleSince, session.ttlMs), now) <= 0) {
        session.end('expired');
        continue;
      }
      for (const member of session.members) member.tick(now);
      if (session.wantsRenewal && msUntil(pulse.dueAt, now) <= 0) void this.beat(session);
    }
    if (this.#pulses.size > 0) this.#schedule();
  }

  async #beat(session: Session): Promise<void> {
    for (let failures = 0; session.wantsRenewal; failures += 1) {
      if (await this.#renew(session)) {
        // Beside the beat, not in it: the deadline has moved, and who waits for the beat need not wait for this.
        void this.#audit(session);
        return;
      }
      // The first is tried again at once. What ends the session ends the pause too.
      if (failures > 0 && session.isOpen) await session.pause(Math.min(50 * 2 ** failures, 1_000));
    }
  }

  async #renew(session: Session): Promise<boolean> {
    const { store, clock, logger } = this.#context;
    const sentAt = clock.now();
    try {
      return session.renewed(sentAt, await store.renew(session.leaseId, session.gateKey, session.ttlMs / 6));
    } catch (error) {
      logger.debug(
        `etcd-locker: a renewal of lease ${session.leaseId} failed, ${String(Math.round(session.remainingMs))} ms are left: ${String(error)}`,
      );
      return false;
    }
  }

  // The lease's list of keys may come from a member that lags behind, so it only raises a suspicion; a linearizable read decides.
  async #audit(session: Session): Promise<void> {
    const settled = [...session.members].filter((member) => member.isSettled);
    if (settled.length === 0) return;
    try {
      const keys = await this.#context.store.leaseKeys(session.leaseId);
      for (const member of settled) {
        if (!keys.has(member.key) && member.isSettled) await member.verify();
      }
    } catch (error) {
      this.#context.logger.debug(`etcd-locker: the keys of lease ${session.leaseId} could not be checked: ${String(error)}`);
    }
  }
}
