/**
 * One member of the cluster, through a client of its own.
 *
 * One client a host, so that which host is asked is our choice: with several, etcd3 picks one at random for every call. Its
 * policies do nothing here, as the defaults send one slow call four times and then refuse all others for five seconds.
 */
import type { ChannelOptions } from '@grpc/grpc-js';
import type { IOptions } from 'etcd3';
import type { EtcdOptions } from '../../options/options.ts';
import type { Operation, Transaction } from '../store.ts';
import { Loader } from './loader.ts';
import { type Method, methods, openClient, type RawClient, type Stream, type StreamListener } from './raw-client.ts';
import { CallFailure, isDenied, status, toFailure } from './call-failure.ts';
import { encodeBatch, encodeTransaction } from './wire/encode.ts';

type Policy = ReturnType<NonNullable<NonNullable<IOptions['faultHandling']>['host']>>;

const noEvent = () => ({ dispose: () => undefined });

const neverAborted = new AbortController().signal;

function noPolicy(): Policy {
  // What is left out exists in cockatiel's types only.
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
    this.#open = open;
    this.#opening = new Loader(() => this.#newClient());
    this.address = url.replace(/^https?:\/\//, '');
  }

  /**
   * A unary call.
   * @throws {CallFailure} within `timeoutMs`
   */
  call(timeoutMs: number, method: Method, request: Buffer): Promise<Buffer> {
    return this.#use((client, until) => client.call(method, request, until), timeoutMs);
  }

  /**
   * A stream that etcd ends where the member has no leader; `close` ends it too.
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
      throw toFailure(error);
    }
  }

  /**
   * Whether this member checks permissions inside nested transactions, as servers before 3.4.42, 3.5.28 and 3.6.9 do not
   * (CVE-2026-33343). Its version may be asked by root only, so its behaviour is asked: once, with a read that tells nothing.
   */
  checksNestedPermissions(timeoutMs: number): boolean | Promise<boolean> {
    if (this.#options.auth === undefined && this.#options.credentials?.certChain === undefined) return true;
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
    // `close` may have been called meanwhile.
    if (client === undefined || this.#isClosed) throw new CallFailure(status.unavailable, 'Channel closed before call started');
    this.#client = client;
    return client;
  }

  #newClient(): Promise<RawClient> {
    const { auth, credentials, grpcOptions } = this.#options;
    const { privateKey, certChain } = credentials ?? {};
    const channel: ChannelOptions = {
      // grpc-js adds up to a fifth: with a second here, a host that is back would be found later than a requestTimeoutMs of a second.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.enable_http_proxy': 0,
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      ...(grpcOptions as ChannelOptions),
      // Nobody but us may send a request again: not grpc-js by itself, nor as a service config in the DNS may tell it to.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Lockers of one process would share a connection, and keep each other's where it passes nothing any more.
      'grpc.use_local_subchannel_pool': 1,
      // grpc-js would call these for streams only: unary calls go past them.
      interceptors: undefined,
      interceptor_providers: undefined,
      callInvocationTransformer: undefined,
    };
    const options: Omit<IOptions, 'auth'> = {
      hosts: this.#url,
      faultHandling: { host: noPolicy, global: noPolicy() },
      grpcOptions: channel,
      ...(credentials === undefined
        ? {}
        : { credentials: { rootCertificate: credentials.rootCertificate, ...(privateKey && certChain ? { privateKey, certChain } : {}) } }),
    };
    return this.#open(options, auth && { ...auth, timeoutMs: this.#authTimeoutMs });
  }
}
