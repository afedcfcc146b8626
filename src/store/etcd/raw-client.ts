/**
 * etcd3's client with a shorter way to the wire.
 *
 * Hosts, credentials and channels are etcd3's. This class adds calls that take and return bytes, on a channel that etcd3 opened.
 * They create no message objects and pass only the layers of grpc-js that they need (docs/decisions/011).
 */
import type { ClientOptions as GrpcOptions, Client as GrpcClient, connectivityState, status as GrpcStatus } from '@grpc/grpc-js';
import type { Etcd3, IOptions } from 'etcd3';
import { ClientLoadError } from '../../errors.ts';
import type { Auth } from '../../options/options.ts';
import { Authentication } from './authentication.ts';
import { CallFailure, status, toFailure } from './call-failure.ts';
import { before, type Channel, createCall } from './channel.ts';
import { type Cancellable, openStream, type Stream, type StreamListener } from './grpc-stream.ts';
import { Loader } from './loader.ts';
import { tlsCredentials, type TlsOptions } from './tls-credentials.ts';
import { decodeToken } from './wire/decode.ts';
import { encodeAuthenticate } from './wire/encode.ts';

export const methods = {
  range: '/etcdserverpb.KV/Range',
  txn: '/etcdserverpb.KV/Txn',
  grant: '/etcdserverpb.Lease/LeaseGrant',
  revoke: '/etcdserverpb.Lease/LeaseRevoke',
  leaseKeys: '/etcdserverpb.Lease/LeaseTimeToLive',
  keepAlive: '/etcdserverpb.Lease/LeaseKeepAlive',
  watch: '/etcdserverpb.Watch/Watch',
  authenticate: '/etcdserverpb.Auth/Authenticate',
} as const;
export type Method = (typeof methods)[keyof typeof methods];

/** Times are by `performance.now()`, because the wall clock may jump. */
export interface RawClient {
  /**
   * Makes a unary call.
   * @throws {CallFailure} at `until` or before
   */
  call(method: Method, request: Buffer, until: number): Promise<Buffer>;
  /**
   * Opens a stream that etcd ends if the member has no leader.
   * @throws {CallFailure} at `until` or before
   */
  stream(method: Method, listener: StreamListener, until: number): Promise<Stream>;
  /** Cancels all calls and streams, and closes the channel. */
  close(): void;
}

export interface User {
  /** Resolves with the name and the password for a new token. */
  readonly ask: () => Promise<Auth>;
  /** The limit for the request of a token, in milliseconds. */
  readonly timeoutMs: number;
  /** Called for the first token after calls without one. */
  readonly enabled: () => void;
}

export interface ClientSecrets {
  readonly user?: User | undefined;
  /** Undefined for a connection without TLS. */
  readonly tls?: TlsOptions | undefined;
}

type ClientOptions = Omit<IOptions, 'auth' | 'credentials'>;

/** Loading etcd3 takes 100 ms, so the import of this package must not do it. */
const clientClass = new Loader(async () => {
  try {
    const [{ Etcd3 }, grpc] = await Promise.all([import('etcd3'), import('@grpc/grpc-js')]);
    return { grpc, Client: rawClientOn(Etcd3, grpc.status, grpc.connectivityState) };
  } catch (error) {
    throw new ClientLoadError(error);
  }
});

/** @throws {ClientLoadError} etcd3 or grpc-js cannot be loaded */
export async function openClient(options: ClientOptions, { user, tls }: ClientSecrets = {}): Promise<RawClient> {
  const { grpc, Client } = await clientClass.load();
  if (tls === undefined) return new Client(options, user);
  const credentials = tlsCredentials(grpc, tls);
  // etcd3 takes no other credentials than those that it makes itself, so the channel is made here.
  const given: GrpcOptions = options.grpcOptions ?? {};
  const make = given.channelFactoryOverride ?? ((...args) => new grpc.Channel(...args));
  const grpcOptions: GrpcOptions = {
    ...given,
    channelFactoryOverride: (address, _, channelOptions) => make(address, credentials, channelOptions),
  };
  return new Client({ ...options, grpcOptions }, user);
}

/** After these a new channel connects at once, and the old one would wait. etcd3 does the same for its own calls. */
const resetting: readonly number[] = [status.unknown, status.resourceExhausted, status.aborted, status.internal, status.unavailable];

function rawClientOn(Base: typeof Etcd3, { OK, CANCELLED }: typeof GrpcStatus, { READY }: typeof connectivityState) {
  return class extends Base implements RawClient {
    readonly #authentication: Authentication | undefined;
    readonly #underWay = new Set<Cancellable>();
    /** Many calls fail on one channel, but it must be reset only once. */
    readonly #wasReset = new WeakSet<GrpcClient>();
    /** Kept until a call fails, so that a call waits for nothing. */
    #channel: Channel | undefined;

    constructor(options: ClientOptions, user?: User) {
      super(options);
      if (user !== undefined) this.#authentication = new Authentication(() => this.#authenticate(user), user.enabled);
    }

    async call(method: Method, request: Buffer, until: number): Promise<Buffer> {
      try {
        return await this.#callOn(this.#channel ?? (await this.#connect(until)), method, request, until);
      } catch (error) {
        if (this.#authentication?.isTokenMissing(toFailure(error)) !== true) throw error;
      }
      // etcd refused the old token, or the lack of one, before it applied anything, so the request may go again.
      return this.#callOn(await this.#connect(until), method, request, until);
    }

    #callOn(channel: Channel, method: Method, request: Buffer, until: number): Promise<Buffer> {
      return new Promise((resolve, reject) => {
        const call = createCall(channel, method, until);
        const sentAt = performance.now();
        let response: Buffer | undefined;
        const underWay: Cancellable = {
          cancel: () => {
            call.cancelWithStatus(CANCELLED, 'locker closed');
          },
        };
        this.#underWay.add(underWay);
        call.start(channel.metadata, {
          onReceiveMetadata: () => {
            channel.receivedAt = performance.now();
          },
          onReceiveMessage: (message: Buffer) => {
            response = message;
          },
          onReceiveStatus: ({ code, details }) => {
            this.#underWay.delete(underWay);
            if (code === OK && response !== undefined) resolve(response);
            else reject(this.#failed(channel, code, details, sentAt));
          },
        });
        call.startRead();
        call.sendMessageWithContext({}, request);
        call.halfClose();
      });
    }

    async stream(method: Method, listener: StreamListener, until: number): Promise<Stream> {
      const channel = this.#channel ?? (await this.#connect(until));
      return openStream(channel, method, listener, {
        onOpened: (call) => this.#underWay.add(call),
        onClosed: (call) => this.#underWay.delete(call),
        toFailure: (code, details, writtenAt) => this.#failed(channel, code, details, writtenAt),
        isOutdated: () => this.#channel !== channel,
        onTimeOut: (writtenAt, then) => {
          this.#checkSilent(channel, writtenAt, then);
        },
      });
    }

    override close(): void {
      this.#channel = undefined;
      super.close();
      for (const call of [...this.#underWay]) call.cancel();
    }

    async #connect(until: number): Promise<Channel> {
      this.#channel = await before(until, this.#withToken());
      return this.#channel;
    }

    async #withToken(): Promise<Channel> {
      const channel = await this.#withoutToken();
      const token = await this.#authentication?.token();
      if (token !== undefined) channel.metadata.set('token', token);
      return channel;
    }

    #withoutToken(): Promise<Channel> {
      return this.pool.withConnection('KV', ({ client, metadata, resource }) => ({
        client,
        metadata,
        reset: () => {
          resource.resetAllServices();
        },
        receivedAt: 0,
      }));
    }

    async #authenticate({ ask, timeoutMs }: User): Promise<string> {
      const { username, password } = await ask();
      const request = encodeAuthenticate(username, password);
      const channel = await this.#withoutToken();
      return decodeToken(await this.#callOn(channel, methods.authenticate, request, performance.now() + timeoutMs));
    }

    #failed(channel: Channel, code: number, details: string, sentAt: number): CallFailure {
      const failure = new CallFailure(code, details === '' ? `etcd ended the call with status ${String(code)}` : details);
      if (this.#channel === channel && this.#authentication?.isTokenMissing(failure) === true) {
        this.#channel = undefined;
        this.#authentication.forget();
      }
      if (resetting.includes(code)) this.#reset(channel);
      if (code === status.deadlineExceeded) this.#checkSilent(channel, sentAt);
      return failure;
    }

    /**
     * Resets a channel that is connected but has received nothing since `sentAt`. A firewall may have forgotten the connection, and
     * TCP would report that a quarter of an hour later. A channel that still connects stays, because other calls wait for it.
     */
    #checkSilent(channel: Channel, sentAt: number, then?: () => void): void {
      // If the process was suspended, timers run before the bytes that arrived meanwhile.
      setImmediate(() => {
        const isConnected = channel.client.getChannel().getConnectivityState(false) === READY;
        if (isConnected && channel.receivedAt < sentAt) this.#reset(channel);
        then?.();
      });
    }

    #reset({ client, reset }: Channel): void {
      if (this.#wasReset.has(client)) return;
      this.#wasReset.add(client);
      this.#channel = undefined;
      reset();
    }
  };
}
