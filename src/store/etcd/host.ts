/**
 * One member of the cluster, with a client of its own.
 *
 * There is one client for each host, because a client with several hosts picks one at random for every call. etcd3's policies are
 * switched off: by default they send one slow call four times, and then refuse all calls for five seconds.
 */
import type { ChannelOptions } from '@grpc/grpc-js';
import type { IOptions } from 'etcd3';
import { ClientLoadError } from '../../errors.ts';
import type { EtcdOptions } from '../../options/options.ts';
import type { Operation, Transaction } from '../store.ts';
import { CallFailure, isDenied, status, toFailure } from './call-failure.ts';
import type { Stream, StreamListener } from './grpc-stream.ts';
import { Loader } from './loader.ts';
import { type Method, methods, openClient, type RawClient, type User } from './raw-client.ts';
import { askAuth } from './secrets.ts';
import type { TlsOptions } from './tls-credentials.ts';
import { encodeBatch, encodeTransaction } from './wire/encode.ts';

type Policy = ReturnType<NonNullable<NonNullable<IOptions['faultHandling']>['host']>>;

const noEvent = () => ({ dispose: () => undefined });

const neverAborted = new AbortController().signal;

function noPolicy(): Policy {
  // The omitted property exists in cockatiel's types only.
  const policy: Omit<Policy, '_altReturn'> = {
    onSuccess: noEvent,
    onFailure: noEvent,
    execute: async (call) => call({ signal: neverAborted }),
  };
  return policy as Policy;
}

export class Host {
  /** Without the scheme. */
  readonly address: string;
  readonly #url: string;
  readonly #options: EtcdOptions;
  readonly #authTimeoutMs: number;
  readonly #tryMs: number;
  readonly #open: typeof openClient;
  readonly #opening: Loader<RawClient>;
  /** Kept beside its loader, so that a call on an open client waits for nothing. */
  #client: RawClient | undefined;
  #checksNested: Promise<boolean> | undefined;
  #isClosed = false;

  constructor(url: string, options: EtcdOptions, authTimeoutMs: number, open = openClient) {
    this.#url = url;
    this.#options = options;
    this.#authTimeoutMs = authTimeoutMs;
    this.#tryMs = authTimeoutMs / (options.hosts.length + 1);
    this.#open = open;
    this.#opening = new Loader(() => this.#newClient());
    this.address = url.replace(/^https?:\/\//, '');
  }

  /**
   * Makes a unary call.
   * @throws {CallFailure} within `timeoutMs`
   */
  call(timeoutMs: number, method: Method, request: Buffer): Promise<Buffer> {
    return this.#use((client, until) => client.call(method, request, until), timeoutMs);
  }

  /**
   * Opens a stream, which ends if the member has no leader or the host is closed.
   * @throws {CallFailure} within `timeoutMs`
   */
  stream(timeoutMs: number, method: Method, listener: StreamListener): Promise<Stream> {
    return this.#use((client, until) => client.stream(method, listener, until), timeoutMs);
  }

  async #use<T>(task: (client: RawClient, until: number) => Promise<T>, timeoutMs: number): Promise<T> {
    const until = performance.now() + timeoutMs;
    try {
      return await task(this.#client ?? (await this.#opened()), until);
    } catch (error) {
      throw error instanceof ClientLoadError ? error : toFailure(error);
    }
  }

  /**
   * Whether this member checks permissions inside nested transactions. Servers before 3.4.42, 3.5.28 and 3.6.9 do not
   * (CVE-2026-33343). Only root may read a server's version, so one harmless read tests its behaviour.
   */
  checksNestedPermissions(timeoutMs: number): boolean | Promise<boolean> {
    const { auth, credentials } = this.#options;
    const hasCertificate = typeof credentials === 'function' || credentials?.certChain !== undefined;
    if (auth === undefined && !hasCertificate) return true;
    return (this.#checksNested ??= this.#probeNested(timeoutMs).catch(() => {
      this.#checksNested = undefined;
      return false;
    }));
  }

  async #probeNested(timeoutMs: number): Promise<boolean> {
    const read: Operation = { range: { key: '\0', keysOnly: true } };
    const reading: Transaction = { compare: [], then: [read], otherwise: [] };
    const mayRead = async (request: Buffer): Promise<boolean> => {
      try {
        await this.call(timeoutMs, methods.txn, request);
        return true;
      } catch (error) {
        if (isDenied(toFailure(error))) return false;
        throw error;
      }
    };
    const plain = encodeTransaction(reading);
    return !(await mayRead(encodeBatch([plain]))) || mayRead(plain);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#client = undefined;
    const client = await this.#opening.current?.catch(() => undefined);
    client?.close();
  }

  async #opened(): Promise<RawClient> {
    const client = this.#isClosed ? undefined : await this.#opening.load();
    // The host may be closed while the client opens.
    if (client === undefined || this.#isClosed) throw new CallFailure(status.unavailable, 'Channel closed before call started');
    this.#client = client;
    return client;
  }

  #newClient(): Promise<RawClient> {
    const { grpcOptions } = this.#options;
    const channel: ChannelOptions = {
      // grpc-js adds up to a fifth. With 1 s here a request of 1 s would not reach a host that is back.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.enable_http_proxy': 0,
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      ...(grpcOptions as ChannelOptions),
      // grpc-js must not send a request again, neither by itself nor because a service config in the DNS says so.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Otherwise the lockers of one process share a connection, and each keeps it open when it no longer passes anything.
      'grpc.use_local_subchannel_pool': 1,
      // grpc-js would apply these to streams only, because unary calls go past them.
      interceptors: undefined,
      interceptor_providers: undefined,
      callInvocationTransformer: undefined,
    };
    const options = {
      // Without the scheme etcd3 makes no credentials for TLS, which are replaced anyway.
      hosts: this.address,
      faultHandling: { host: noPolicy, global: noPolicy() },
      grpcOptions: channel,
    };
    return this.#open(options, this.#tryMs, { user: this.#user(), tls: this.#tls() });
  }

  #user(): User | undefined {
    const { auth } = this.#options;
    if (auth === undefined) return undefined;
    return {
      ask: () => askAuth(auth, this.#askMs),
      timeoutMs: this.#authTimeoutMs,
      enabled: () => {
        // Without authentication a member permits everything, so the answer of the probe was wrong.
        this.#checksNested = undefined;
      },
    };
  }

  #tls(): TlsOptions | undefined {
    if (!this.#url.startsWith('https:')) return undefined;
    const hostname = this.address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    return { hostname, credentials: this.#options.credentials ?? {}, askMs: this.#askMs };
  }

  /** Less than a try of `Hosts`, so that the reason of a failure is the function and not the host. */
  get #askMs(): number {
    return 0.8 * this.#tryMs;
  }
}
