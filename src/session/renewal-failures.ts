/**
 * Why the renewals of a session have failed since the last one that counted: the cause of a loss.
 *
 * Renewals go to one host after the other. Their reasons add up to one error that names each host.
 */
import { EtcdUnavailableError, isFinal } from '../errors.ts';
import { channels, publishLater } from '../telemetry/channels.ts';
import type { RenewalMessage } from '../telemetry/messages.ts';
import type { Member } from './member.ts';

/** The part of a session that its failures use. */
interface RenewedSession {
  readonly leaseId: string;
  readonly ttlMs: number;
  readonly remainingMs: number;
  readonly members: ReadonlySet<Pick<Member, 'isHeld'>>;
}

export class RenewalFailures {
  readonly #reasons = new Map<string, string>();
  readonly #session: RenewedSession;
  #last: Error | undefined;
  #count = 0;

  constructor(session: RenewedSession) {
    this.#session = session;
  }

  add(error: Error): void {
    this.#count += 1;
    if (channels.renewalFailed.hasSubscribers) publishLater(channels.renewalFailed, { ...this.#toMessage(), error });
    if (error instanceof EtcdUnavailableError) for (const { host, reason } of error.hosts) this.#reasons.set(host, reason);
    // A try without time for an answer says nothing: the failure before it is the reason.
    if (this.#last === undefined || !(error instanceof EtcdUnavailableError) || error.hosts.length > 0) this.#last = error;
  }

  get isLastFinal(): boolean {
    return isFinal(this.#last);
  }

  /** Takes in that a renewal counted. The deadline has not moved yet. */
  clear(): void {
    if (this.#count > 0 && channels.renewalRecovered.hasSubscribers) publishLater(channels.renewalRecovered, this.#toMessage());
    this.#count = 0;
    this.#reasons.clear();
    this.#last = undefined;
  }

  #toMessage(): RenewalMessage {
    const { leaseId, ttlMs, remainingMs, members } = this.#session;
    const locks = [...members].filter(({ isHeld }) => isHeld).length;
    return { leaseId, ttlMs, locks, failures: this.#count, remainingMs };
  }

  /** Returns what the last renewals failed with, after `silentMs` milliseconds without one that counted. */
  toCause(silentMs: number): Error {
    if (this.#last === undefined) {
      return new Error(
        `no renewal was answered for ${String(Math.round(silentMs))} ms: the process or its connection may have been suspended`,
      );
    }
    if (!(this.#last instanceof EtcdUnavailableError)) return this.#last;
    const hosts = [...this.#reasons].map(([host, reason]) => ({ host, reason }));
    return new EtcdUnavailableError(Math.round(silentMs), hosts);
  }
}
