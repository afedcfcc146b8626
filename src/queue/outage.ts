/**
 * An outage as the callers of one name see it: since when etcd has not responded, and what its hosts reported.
 *
 * A caller without an entry rejects after `requestTimeoutMs` without a response. A caller that was enqueued once waits on.
 */
import { addMs, type Instant, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { EtcdUnavailableError, type HostFailure, OutcomeUnknownError } from '../errors.ts';
import type { Silence } from '../store/store.ts';
import type { Caller } from './caller.ts';

export class Outage {
  readonly #context: Context;
  #current: { readonly since: Instant; readonly hosts: readonly HostFailure[] } | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Whether the last request got no response. */
  get isOn(): boolean {
    return this.#current !== undefined;
  }

  onResponse(): void {
    this.#current = undefined;
  }

  /** Takes in the failure of a request that was sent at `sentAt`. A refusal is a response. */
  onFailure(error: unknown, sentAt: Instant): void {
    if (error instanceof OutcomeUnknownError || error instanceof EtcdUnavailableError) {
      const { since = sentAt, hosts = [] } = this.#current ?? {};
      this.#current = { since, hosts: error.hosts.length > 0 ? error.hosts : hosts };
    } else {
      this.#current = undefined;
    }
  }

  /** Returns how long the next request of a caller may take; 1 if its time is up. */
  timeLeftMs({ joinedAt, wasEnqueued }: Pick<Caller<unknown>, 'joinedAt' | 'wasEnqueued'>): number {
    const { clock, requestTimeoutMs } = this.#context;
    if (this.#current === undefined || wasEnqueued) return requestTimeoutMs;
    const { since } = this.#current;
    const waitsSince = joinedAt.monotonicMs > since.monotonicMs ? joinedAt : since;
    return Math.max(1, msUntil(addMs(waitsSince, requestTimeoutMs), clock.now()));
  }

  /** Returns how long etcd has not responded. A store that knows it also knows of requests that still wait. */
  silence(): Silence | undefined {
    const { store, clock, requestTimeoutMs } = this.#context;
    const known = store.silence?.();
    if (known !== undefined || this.#current === undefined) return known;
    const { since, hosts } = this.#current;
    const forMs = -msUntil(since, clock.now());
    return { forMs, isOutage: forMs >= requestTimeoutMs / 2, hosts };
  }

  /** The error for callers whose time is up. */
  toError(timeoutMs = this.#context.requestTimeoutMs): EtcdUnavailableError {
    return toUnavailable(this.#context, timeoutMs, this.#current?.hosts);
  }
}

/** Returns the error for a call without a response within `timeoutMs`. It has the reasons of `hosts`, or of the requests that wait. */
export function toUnavailable({ store }: Context, timeoutMs: number, hosts: readonly HostFailure[] = []): EtcdUnavailableError {
  return new EtcdUnavailableError(timeoutMs, hosts.length > 0 ? hosts : (store.silence?.()?.hosts ?? []));
}
