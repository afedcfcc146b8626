/**
 * The members of the cluster, and the choice between them.
 *
 * All requests of a locker go to one host until it fails, then to the next. Later they go back to the first one, if it is well again. A
 * request shares its time between all hosts: one try
 * takes at most a share that leaves time for every other host, even if each of them hangs.
 */
import { backoffMs } from '../../backoff.ts';
import { ClientLoadError, EtcdUnavailableError, type HostFailure, OutcomeUnknownError } from '../../errors.ts';
import type { ResolvedOptions } from '../../options/options.ts';
import { channels, publishLater } from '../../telemetry/channels.ts';
import type { HostChangedMessage } from '../../telemetry/messages.ts';
import { type CallFailure, isResponseTooLarge, status, toFailure, toMistrust, toRefusal } from './call-failure.ts';
import { HomeHost } from './home-host.ts';
import { Cluster } from './cluster.ts';
import { Host } from './host.ts';
import { openClient } from './raw-client.ts';
import { RoundTrips } from './round-trips.ts';
import { hasNoReason, SilenceLog } from './silence.ts';

/** With less time than this left a request is not sent: no response could come in time. */
export const shortestTryMs = 10;
/** How often a request goes again with a new token before etcd's refusal is final. */
const maxStaleTokens = 3;

export interface RequestOptions {
  readonly timeoutMs?: number | undefined;
  /** Rejects with OutcomeUnknownError instead of sending again what etcd may have applied. */
  readonly once?: boolean | undefined;
}

type HostsOptions = Pick<ResolvedOptions, 'etcd' | 'prefix' | 'requestTimeoutMs' | 'logger'>;

export class Hosts {
  readonly cluster: Cluster;
  readonly roundTrips = new RoundTrips();
  readonly silence = new SilenceLog();
  readonly #hosts: readonly Host[];
  readonly #prefix: string;
  readonly #hasAuth: boolean;
  readonly #requestTimeoutMs: number;
  readonly #sleepers = new Set<() => void>();
  readonly #home: number;
  readonly #homeHost: HomeHost;
  #at: number;
  #isClosed = false;

  constructor({ etcd, prefix, requestTimeoutMs, logger }: HostsOptions) {
    this.cluster = new Cluster(logger, prefix);
    this.#hosts = etcd.hosts.map((url) => {
      const open: typeof openClient = async (...args) => this.cluster.guard(await openClient(...args), host.address);
      const host: Host = new Host(url, etcd, requestTimeoutMs, open);
      return host;
    });
    this.#prefix = prefix;
    this.#hasAuth = etcd.auth !== undefined;
    this.#requestTimeoutMs = requestTimeoutMs;
    // At random, so that a fleet of lockers spreads over the members.
    this.#home = Math.floor(Math.random() * this.#hosts.length);
    this.#at = this.#home;
    this.#homeHost = new HomeHost(this.current, prefix, requestTimeoutMs);
  }

  get current(): Host {
    const host = this.#hosts[this.#at];
    if (host === undefined) throw new RangeError('Cannot choose a host: there is none');
    return host;
  }

  /** The time in milliseconds that one host has to respond before the next host is tried. */
  get tryMs(): number {
    return this.#requestTimeoutMs / (this.#hosts.length + 1);
  }

  /** Moves on to the next host, unless another request has done so already. */
  failed(host: Host): void {
    if (host !== this.current) return;
    if (this.#at === this.#home) this.#homeHost.onLeft();
    this.#moveTo((this.#at + 1) % this.#hosts.length, 'failed');
  }

  /** Goes back to the home host some time after it failed, once a read in the background shows that it is well. */
  considerReturn(): void {
    if (this.#at === this.#home || !this.#homeHost.isDue || this.#isClosed) return;
    void this.#homeHost.probe(this.tryMs).then((isWell) => {
      if (isWell) this.#moveTo(this.#home, 'returned');
    });
  }

  #moveTo(index: number, cause: HostChangedMessage['cause']): void {
    const from = this.current;
    this.#at = index;
    const to = this.current;
    if (to === from || !channels.hostChanged.hasSubscribers) return;
    publishLater(channels.hostChanged, { from: from.address, to: to.address, cause });
  }

  /**
   * Tries one host after the other until one responds.
   *
   * @param attempt gets the host, its time in milliseconds, and the number of tries before this one
   * @throws {EtcdUnavailableError} no host responded in time
   * @throws {EtcdAuthError} at once, if TLS fails with every host for lack of trust
   * @throws {EtcdRefusedError} etcd refused the request; also {EtcdAuthError} and {LeaseNotFoundError}, by the reason
   * @throws {ClientLoadError} at once, if etcd3 or grpc-js cannot be loaded
   * @throws {OutcomeUnknownError} with `once`: a try was sent and got no response, or etcd ran out of space
   */
  async request<T>(
    attempt: (host: Host, timeoutMs: number, tries: number) => Promise<T>,
    { timeoutMs = this.#requestTimeoutMs, once = false }: RequestOptions = {},
  ): Promise<T> {
    this.considerReturn();
    const until = performance.now() + timeoutMs;
    const reasons = new Map<string, string>();
    const untrusted = new Set<Host>();
    let staleTokens = 0;
    const failures = (): HostFailure[] => [...reasons].map(([host, reason]) => ({ host, reason }));
    for (let tries = 0; ; tries += 1) {
      const host = this.current;
      const sentAt = performance.now();
      const left = until - sentAt;
      if (left <= shortestTryMs || this.#isClosed) throw new EtcdUnavailableError(Math.round(timeoutMs), failures());
      const sent = this.silence.onSend(host.address);
      try {
        const response = await attempt(host, Math.min(this.tryMs, left), tries);
        this.roundTrips.add(performance.now() - sentAt);
        this.silence.onResponse(sent);
        return response;
      } catch (error) {
        const failure = toFailure(error);
        this.silence.onFailure(sent, failure);
        if (error instanceof ClientLoadError) throw error;
        if (!hasNoReason(failure) || !reasons.has(host.address)) reasons.set(host.address, failure.details);
        if (failure.kind === 'untrusted' && untrusted.add(host).size === this.#hosts.length) throw toMistrust(failures(), this.#prefix);
        if (failure.kind === 'stale-token' && (!this.#hasAuth || ++staleTokens > maxStaleTokens)) throw toRefusal(failure, this.#prefix);
        if (failure.kind === 'refused' || (!once && (failure.kind === 'no-space' || isResponseTooLarge(failure))))
          throw toRefusal(failure, this.#prefix);
        // The caller's time was up, not the host's. A host with less than a whole try may be healthy.
        const isCutShort = left < this.tryMs && failure.code === status.deadlineExceeded;
        if (failure.kind !== 'stale-token' && !isCutShort) this.failed(host);
        if (once && failure.kind === 'unknown') throw new OutcomeUnknownError(failures());
        if (once && failure.kind === 'no-space') throw new OutcomeUnknownError(failures(), { cause: toRefusal(failure, this.#prefix) });
        await this.#backOff(tries, failure, until);
      }
    }
  }

  // The first round tries every host at once. Later rounds slow down.
  async #backOff(tries: number, failure: CallFailure, until: number): Promise<void> {
    const rounds = Math.floor((tries + 1) / this.#hosts.length);
    if (rounds === 0 && failure.kind !== 'stale-token') return;
    await this.sleep(Math.min(backoffMs(Math.max(0, rounds - 1), { maxMs: 500 }), until - performance.now()));
  }

  /** Waits for `delayMs`, or until `close`. */
  sleep(delayMs: number): Promise<void> {
    if (delayMs <= 0 || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, delayMs).unref();
      this.#sleepers.add(wake);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const wake of [...this.#sleepers]) wake();
    await Promise.all(this.#hosts.map((host) => host.close()));
  }
}
