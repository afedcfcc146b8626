/** The store port on a cluster of etcd, through etcd3. */
import type { ResolvedOptions } from '../../options.ts';
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
import { toCommitted, toKeyValue, toTransaction } from './codec.ts';
import { CallFailure, isUnauthenticated, noAnswer, toFailure } from './failures.ts';
import { endStream, type Host } from './host.ts';
import { Hosts } from './hosts.ts';
import { WatchStream } from './watch-stream.ts';

interface KeepAliveAnswer {
  readonly header: { readonly raft_term: string };
  readonly TTL: string;
}

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
    return this.#hosts.request(async (host, timeoutMs, tries) => {
      try {
        const { TTL } = await host.call(timeoutMs, ({ leaseClient }, options) =>
          leaseClient.leaseGrant({ ID: leaseId, TTL: ttlSeconds }, options),
        );
        return Number(TTL);
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
    return this.#hosts.request(async (host, timeoutMs) => {
      const { keys } = await host.call(timeoutMs, ({ leaseClient }, options) =>
        leaseClient.leaseTimeToLive({ ID: leaseId, keys: true }, options),
      );
      return new Set(keys.map((key) => key.toString()));
    });
  }

  async revoke(leaseId: string): Promise<void> {
    try {
      await this.#hosts.request((host, timeoutMs) =>
        host.call(timeoutMs, ({ leaseClient }, options) => leaseClient.leaseRevoke({ ID: leaseId }, options)),
      );
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
    }
  }

  async commit(transaction: Transaction, { once, timeoutMs = this.#requestTimeoutMs }: CommitOptions = {}): Promise<Committed> {
    const request = toTransaction(transaction);
    const { lane, sharesLane } = transaction;
    if (lane !== undefined) return toCommitted(await this.#batcher.commit({ request, lane, sharesLane, once, timeoutMs }));
    return toCommitted(
      await this.#hosts.request((host, tryMs) => host.call(tryMs, ({ kv }, options) => kv.txn(request, options)), { once, timeoutMs }),
    );
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
  const readGate = () => host.call(timeLeft(), ({ kv }, options) => kv.range({ key: Buffer.from(gateKey) }, options));
  let answer: KeepAliveAnswer;
  try {
    answer = await keepAlive(host, leaseId, timeLeft());
  } catch (error) {
    if (!isUnauthenticated(toFailure(error))) throw error;
    // Streams are never re-authenticated by etcd3; a unary call is, and its token is the client's from then on.
    await readGate();
    answer = await keepAlive(host, leaseId, timeLeft());
  }
  const { header, kvs } = await readGate();
  const [gate] = kvs;
  return {
    renewed: Number(answer.TTL) > 0 && answer.header.raft_term === header.raft_term,
    gate: gate === undefined ? null : toKeyValue(gate),
  };
}

/** One stream for one renewal, so that nothing half-open can go unnoticed. */
async function keepAlive(host: Host, leaseId: string, timeoutMs: number): Promise<KeepAliveAnswer> {
  const stream = await host.stream<{ ID: string }, KeepAliveAnswer>(timeoutMs, ({ leaseClient }, options) =>
    leaseClient.leaseKeepAlive(options),
  );
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<KeepAliveAnswer>((resolve, reject) => {
      timer = setTimeout(() => {
        reject(noAnswer(timeoutMs));
      }, timeoutMs).unref();
      stream.on('data', resolve);
      stream.on('error', reject);
      stream.on('end', () => {
        reject(new CallFailure(14, 'the keepalive stream ended without an answer'));
      });
      stream.write({ ID: leaseId });
    });
  } finally {
    clearTimeout(timer);
    endStream(stream);
  }
}
