/**
 * Why the renewals of a session have failed since the last one that counted: the cause of a loss.
 *
 * Renewals go to one host after the other. Their reasons add up to one error that names each host.
 */
import { EtcdUnavailableError } from '../errors.ts';

export class RenewalFailures {
  readonly #reasons = new Map<string, string>();
  #last: Error | undefined;

  add(error: Error): void {
    if (error instanceof EtcdUnavailableError) for (const { host, reason } of error.hosts) this.#reasons.set(host, reason);
    // A try without time for an answer says nothing: the failure before it is the reason.
    if (this.#last === undefined || !(error instanceof EtcdUnavailableError) || error.hosts.length > 0) this.#last = error;
  }

  clear(): void {
    this.#reasons.clear();
    this.#last = undefined;
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
