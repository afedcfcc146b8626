/**
 * The store port on a cluster of etcd.
 *
 * This folder reads best in this order: this file; `hosts.ts` with `home-host.ts` and `cluster.ts` (which host gets a request, and how often); `batcher.ts` with
 * `batch.ts`, `pending-commit.ts` and `deadlines.ts` (commits that share a request); `watch-stream.ts` with `watch-connection.ts`
 * and `idle-watches.ts`; `renewal.ts`; then `host.ts`, `raw-client.ts`, `channel.ts` and `grpc-stream.ts` (the way to the wire).
 * `call-failure.ts` decides what a failed call means. `wire/` encodes requests and decodes responses.
 */
import { ClientLoadError, EtcdUnavailableError, LeaseNotFoundError } from '../../errors.ts';
import type { ResolvedOptions } from '../../options/options.ts';
import type { CommitOptions, Committed, Renewal, Silence, Store, Transaction, WatchListener, WatchRequest } from '../store.ts';
import { Batcher } from './batcher.ts';
import { toFailure, toFinal, toRefusal } from './call-failure.ts';
import { Hosts } from './hosts.ts';
import { methods } from './raw-client.ts';
import { renewAt } from './renewal.ts';
import { WatchStream } from './watch-stream.ts';
import { decodeCommitted, decodeLeaseKeys, decodeTtl } from './wire/decode.ts';
import { encodeGrant, encodeLease, encodeLeaseKeys, encodeTransaction } from './wire/encode.ts';

export function etcdStore(options: Pick<ResolvedOptions, 'etcd' | 'prefix' | 'requestTimeoutMs' | 'logger'>): Store {
  return new EtcdStore(options);
}

class EtcdStore implements Store {
  readonly #hosts: Hosts;
  readonly #batcher: Batcher;
  readonly #watches: WatchStream;
  readonly #requestTimeoutMs: number;
  readonly #prefix: string;

  constructor(options: Pick<ResolvedOptions, 'etcd' | 'prefix' | 'requestTimeoutMs' | 'logger'>) {
    this.#hosts = new Hosts(options);
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#prefix = options.prefix;
    this.#batcher = new Batcher(this.#hosts);
    this.#watches = new WatchStream(this.#hosts, options.logger, options.requestTimeoutMs);
  }

  grant(leaseId: string, ttlSeconds: number): Promise<number> {
    const request = encodeGrant(leaseId, ttlSeconds);
    return this.#hosts.request(async (host, timeoutMs, tries) => {
      // Before the grant: its response may be lost.
      this.#hosts.cluster.onGrant(ttlSeconds);
      try {
        const granted = decodeTtl(await host.call(timeoutMs, methods.grant, request));
        this.#hosts.cluster.onGrant(granted);
        return granted;
      } catch (error) {
        // Nobody else uses this random id, so an earlier try of this request has granted the lease.
        if (tries > 0 && /lease already exists/.test(toFailure(error).details)) return ttlSeconds;
        throw error;
      }
    });
  }

  async renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
    this.#hosts.considerReturn();
    const host = this.#hosts.current;
    const sent = this.#hosts.silence.onSend(host.address);
    try {
      const renewal = await renewAt(host, leaseId, gateKey, timeoutMs);
      this.#hosts.silence.onResponse(sent);
      if (!renewal.renewed) this.#hosts.failed(host);
      return renewal;
    } catch (error) {
      const failure = toFailure(error);
      this.#hosts.silence.onFailure(sent, failure);
      if (error instanceof ClientLoadError) throw error;
      if (failure.kind !== 'stale-token') this.#hosts.failed(host);
      const final = toFinal(failure, host.address, this.#prefix);
      if (final !== undefined) throw final;
      if (failure.kind === 'refused') throw toRefusal(failure, this.#prefix);
      throw new EtcdUnavailableError(Math.round(timeoutMs), [{ host: host.address, reason: failure.details }]);
    }
  }

  leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    const request = encodeLeaseKeys(leaseId);
    return this.#hosts.request(async (host, timeoutMs) => decodeLeaseKeys(await host.call(timeoutMs, methods.timeToLive, request)));
  }

  async leaseRemainingMs(leaseId: string): Promise<number | null> {
    const request = encodeLease(leaseId);
    const seconds = await this.#hosts.request(async (host, timeoutMs) =>
      decodeTtl(await host.call(timeoutMs, methods.timeToLive, request)),
    );
    return seconds < 0 ? null : 1_000 * seconds;
  }

  async revoke(leaseId: string): Promise<void> {
    const request = encodeLease(leaseId);
    try {
      await this.#hosts.request((host, timeoutMs) => host.call(timeoutMs, methods.revoke, request));
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
    }
  }

  commit(transaction: Transaction, { once, timeoutMs = this.#requestTimeoutMs }: CommitOptions = {}): Promise<Committed> {
    const request = encodeTransaction(transaction);
    const { lane, isIndependent } = transaction;
    if (lane !== undefined) return this.#batcher.commit({ request, operations: sizeOf(transaction), lane, isIndependent, once, timeoutMs });
    return this.#hosts.request(async (host, tryMs) => decodeCommitted(await host.call(tryMs, methods.txn, request)), { once, timeoutMs });
  }

  roundTripMs(): number | undefined {
    return this.#hosts.roundTrips.shortestMs;
  }

  watch(request: WatchRequest, listener: WatchListener): () => void {
    return this.#watches.add(request, listener);
  }

  silence(): Silence | undefined {
    return this.#hosts.silence.current(this.#hosts.tryMs);
  }

  async close(): Promise<void> {
    this.#watches.close();
    this.#batcher.close();
    await this.#hosts.close();
  }
}

/** The number that etcd compares with `--max-txn-ops`. */
const sizeOf = ({ compare, then, otherwise }: Transaction): number => Math.max(compare.length, then.length, otherwise.length);
