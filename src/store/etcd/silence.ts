/**
 * The tries that got no response since etcd last responded to one.
 *
 * A caller whose time is up while its request still waits reports these failures.
 */
import type { HostFailure } from '../../errors.ts';
import type { Silence } from '../store.ts';
import { type CallFailure, noResponse, status } from './call-failure.ts';

/** A try at one host, while it waits for its response. Times are by `performance.now()`. */
export interface Sent {
  readonly address: string;
  readonly sentAt: number;
}

export class SilenceLog {
  readonly #waiting = new Set<Sent>();
  /** The reason of each host that failed since the last response. */
  readonly #reasons = new Map<string, string>();
  /** When the first try after the last response was sent. */
  #since: number | undefined;

  onSend(address: string): Sent {
    const sent = { address, sentAt: performance.now() };
    this.#waiting.add(sent);
    this.#since ??= sent.sentAt;
    return sent;
  }

  /** Takes in that etcd responded. */
  onResponse(sent: Sent): void {
    this.#waiting.delete(sent);
    if (this.#reasons.size > 0) this.#reasons.clear();
    this.#since = this.#waiting.size > 0 ? performance.now() : undefined;
  }

  onFailure(sent: Sent, failure: CallFailure): void {
    if (isRefusal(failure)) {
      this.onResponse(sent);
      return;
    }
    this.#waiting.delete(sent);
    // A mere lack of a response replaces no better reason.
    if (!hasNoReason(failure) || !this.#reasons.has(sent.address)) this.#reasons.set(sent.address, failure.details);
  }

  /** @param tryMs the time that one host has to respond */
  current(tryMs: number): Silence | undefined {
    if (this.#since === undefined) return undefined;
    const forMs = performance.now() - this.#since;
    const readHosts = (): HostFailure[] => this.#readHosts();
    return {
      forMs,
      isOutage: forMs >= tryMs,
      // Read on demand, because each of thousands of callers asks for the time.
      get hosts() {
        return readHosts();
      },
    };
  }

  #readHosts(): HostFailure[] {
    const now = performance.now();
    const reasons = new Map(this.#reasons);
    // The oldest first: it has waited longest.
    for (const { address, sentAt } of this.#waiting) {
      if (!reasons.has(address)) reasons.set(address, noResponse(now - sentAt).details);
    }
    return [...reasons].map(([host, reason]) => ({ host, reason }));
  }
}

const isRefusal = ({ kind }: CallFailure): boolean => kind === 'refused' || kind === 'no-space' || kind === 'stale-token';

/** grpc-js gives no reason while it waits to connect again. */
export const hasNoReason = ({ code, details }: CallFailure): boolean =>
  code === status.deadlineExceeded || /^no connection established\b/.test(details);
