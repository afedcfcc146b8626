/** The store port on a cluster of etcd, through etcd3. */
import { deferred } from '../../deferred.ts';
import type { ResolvedOptions } from '../../options/options.ts';
import {
  type CommitOptions,
  type Committed,
  LeaseNotFoundError,
  type Renewal,
  type Store,
  type Transaction,
  type WatchListener,
  type WatchRequest,
} from '../store.ts';
import { Batcher } from './batcher.ts';
import { decodeCommitted, decodeGrant, type KeepAliveResponse, decodeKeepAlive, decodeLeaseKeys, decodeRange } from './wire/decode.ts';
import { methods, type Stream } from './raw-client.ts';
import { isUnauthenticated, noAnswer, toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import { Hosts } from './hosts.ts';
import { encodeGrant, encodeLeaseKeys, encodeLease, encodeRange, encodeTransaction } from './wire/encode.ts';
import { WatchStream } from './watch-stream.ts';

export function etcdStore(options: Pick<ResolvedOptions, 'etcd' | 'prefix' | 'requestTimeoutMs' | 'logger'>): Store {
  return new EtcdStore(options);
}

class EtcdStore implements Store {
  readonly #hosts: Hosts;
  readonly #batcher: Batcher;
  readonly #watches: WatchStream;
  readonly #requestTimeoutMs: number;

  constructor(options: Pick<ResolvedOptions, 'etcd' | 'prefix' | 'requestTimeoutMs' | 'logger'>) {
    this.#hosts = new Hosts(options);
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#batcher = new Batcher(this.#hosts);
    this.#watches = new WatchStream(this.#hosts, options.logger, options.requestTimeoutMs);
  }

  grant(leaseId: string, ttlSeconds: number): Promise<number> {
    const request = encodeGrant(leaseId, ttlSeconds);
    return this.#hosts.request(async (host, timeoutMs, tries) => {
      try {
        return decodeGrant(await host.call(timeoutMs, methods.grant, request));
      } catch (error) {
        // The id is ours alone, so a lease of that id is what an earlier try of this request has made.
        if (tries > 0 && /lease already exists/.test(toFailure(error).details)) return ttlSeconds;
        throw error;
      }
    });
  }

  async renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
    const host = this.#hosts.current;
    try {
      const renewal = await renewAt(host, leaseId, gateKey, timeoutMs);
      if (!renewal.renewed) this.#hosts.failed(host);
      return renewal;
    } catch (error) {
      const failure = toFailure(error);
      if (failure.kind !== 'stale-token') this.#hosts.failed(host);
      throw new Error(`${host.address}: ${failure.details}`, { cause: error });
    }
  }

  leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    const request = encodeLeaseKeys(leaseId);
    return this.#hosts.request(async (host, timeoutMs) => decodeLeaseKeys(await host.call(timeoutMs, methods.leaseKeys, request)));
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

  watch(request: WatchRequest, listener: WatchListener): () => void {
    return this.#watches.add(request, listener);
  }

  async close(): Promise<void> {
    this.#watches.close();
    await this.#hosts.close();
  }
}

/**
 * The keepalive first, then the linearizable read at the same host: a former leader that was frozen answers renewals from its own
 * memory, but it cannot answer the read in the term that it put into the renewal's header.
 */
async function renewAt(host: Host, leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
  const until = performance.now() + timeoutMs;
  const timeLeft = (): number => Math.max(1, until - performance.now());
  const readGate = async () => decodeRange(await host.call(timeLeft(), methods.range, encodeRange({ key: gateKey })));
  let answer: KeepAliveResponse;
  try {
    answer = await keepAlive(host, leaseId, timeLeft());
  } catch (error) {
    const failure = toFailure(error);
    if (!isUnauthenticated(failure) && failure.kind !== 'stale-token') throw error;
    // A stream is never re-authenticated; a unary call is, and its token is the client's from then on. Where a change of
    // rights has made the token old it fails too, and the next renewal has a new client.
    await readGate();
    answer = await keepAlive(host, leaseId, timeLeft());
  }
  const { header, kvs } = await readGate();
  return { renewed: answer.ttlSeconds > 0 && answer.header.raftTerm === header.raftTerm, gate: kvs[0] ?? null };
}

/** One stream for one renewal, so that nothing half-open can go unnoticed. */
async function keepAlive(host: Host, leaseId: string, timeoutMs: number): Promise<KeepAliveResponse> {
  const until = performance.now() + timeoutMs;
  const answer = deferred<Buffer>();
  answer.promise.catch(() => undefined); // told below, if the stream could be opened
  const stream: Stream = await host.stream(timeoutMs, methods.keepAlive, { message: answer.resolve, ended: answer.reject });
  const timer = setTimeout(() => {
    stream.giveUp();
    answer.reject(noAnswer(timeoutMs));
  }, until - performance.now()).unref();
  try {
    stream.write(encodeLease(leaseId));
    return decodeKeepAlive(await answer.promise);
  } finally {
    clearTimeout(timer);
    stream.end();
  }
}

/** How much of what etcd allows for one request. */
const sizeOf = ({ compare, then, otherwise }: Transaction): number => Math.max(compare.length, then.length, otherwise.length);
