/**
 * etcd3's client with a shorter way to the wire.
 *
 * Hosts, credentials and channels are etcd3's. This class adds calls that take and return bytes, on a channel that etcd3 opened.
 * They create no message objects and pass only the layers of grpc-js that they need (docs/decisions/011).
 */
import type * as Grpc from '@grpc/grpc-js';
import type { Etcd3, IOptions } from 'etcd3';
import { ClientLoadError } from '../../errors.ts';
import type { Auth } from '../../options/options.ts';
import { Authentication } from './authentication.ts';
import { CallFailure, status, toFailure } from './call-failure.ts';
import { before, type Channel, createCall } from './channel.ts';
import type { channelFactory as ChannelFactory, ClosableChannel } from './closable-channel.ts';
import { Connection, Patience, type UnderWay } from './connection.ts';
import { openStream, type Stream, type StreamListener } from './grpc-stream.ts';
import { Loader } from './loader.ts';
import type { TlsOptions } from './tls-credentials.ts';
import { decodeToken } from './wire/decode.ts';
import { encodeAuthenticate } from './wire/encode.ts';

export const methods = {
  range: '/etcdserverpb.KV/Range',
  txn: '/etcdserverpb.KV/Txn',
  grant: '/etcdserverpb.Lease/LeaseGrant',
  revoke: '/etcdserverpb.Lease/LeaseRevoke',
  timeToLive: '/etcdserverpb.Lease/LeaseTimeToLive',
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

/** Loading etcd3 takes 100 ms, and loading TLS 10 ms, so the import of this package must not do it. */
const clientClass = new Loader(async () => {
  try {
    const [{ Etcd3 }, grpc, { channelFactory }] = await Promise.all([
      import('etcd3'),
      import('@grpc/grpc-js'),
      import('./closable-channel.ts'),
    ]);
    return rawClientOn(Etcd3, grpc, channelFactory);
  } catch (error) {
    throw new ClientLoadError(error);
  }
});

/**
 * @param tryMs the limit for a connection in the making, in milliseconds
 * @throws {ClientLoadError} etcd3 or grpc-js cannot be loaded
 */
export async function openClient(options: ClientOptions, tryMs: number, secrets: ClientSecrets = {}): Promise<RawClient> {
  const Client = await clientClass.load();
  return new Client(options, tryMs, secrets);
}

/** After these a new channel connects at once, and the old one would wait. etcd3 does the same for its own calls. */
const resetting: readonly number[] = [status.unknown, status.resourceExhausted, status.aborted, status.internal, status.unavailable];

function rawClientOn(Base: typeof Etcd3, grpc: typeof Grpc, channelFactory: typeof ChannelFactory) {
  const { OK, CANCELLED } = grpc.status;
  return class extends Base implements RawClient {
    readonly #authentication: Authentication | undefined;
    readonly #patience: Patience;
    /** One for new calls, and retired ones with calls under way. */
    readonly #connections = new Map<Grpc.Client, Connection>();
    /** Kept until a call fails, so that a call waits for nothing. */
    #channel: Channel | undefined;
    /** The check of a channel without a response, if one is under way. */
    #checking: Promise<void> | undefined;

    constructor(options: ClientOptions, tryMs: number, { user, tls }: ClientSecrets) {
      super({ ...options, grpcOptions: { ...options.grpcOptions, channelFactoryOverride: channelFactory(grpc, tls) } });
      this.#patience = new Patience(tryMs);
      if (user !== undefined) this.#authentication = new Authentication(() => this.#authenticate(user), user.enabled);
    }

    call(method: Method, request: Buffer, until: number): Promise<Buffer> {
      const channel = this.#channel;
      if (channel !== undefined && this.#authentication === undefined) return this.#callOn(channel, method, request, until);
      return this.#connectAndCall(method, request, until);
    }

    async #connectAndCall(method: Method, request: Buffer, until: number): Promise<Buffer> {
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
        const underWay: UnderWay = {
          cancel: () => {
            call.cancelWithStatus(CANCELLED, 'locker closed');
          },
        };
        const { connection } = channel;
        connection.started(underWay);
        call.start(channel.metadata, {
          onReceiveMetadata: () => {
            connection.receivedAt = performance.now();
          },
          onReceiveMessage: (message: Buffer) => {
            response = message;
          },
          onReceiveStatus: ({ code, details }) => {
            connection.ended(underWay);
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
        toFailure: (code, details, writtenAt) => this.#failed(channel, code, details, writtenAt),
        isOutdated: () => this.#channel !== channel,
        onTimeOut: (writtenAt, then) => {
          this.#checkSilent(channel, writtenAt, then);
        },
      });
    }

    override close(): void {
      this.#channel = undefined;
      for (const connection of [...this.#connections.values()]) connection.close();
      super.close();
    }

    async #connect(until: number): Promise<Channel> {
      await this.#checking;
      const channel = await before(until, this.#withToken());
      // It may have been retired while the token was on its way.
      if (!channel.connection.isRetired) this.#channel = channel;
      return channel;
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
        connection: this.#connectionOf(client, () => {
          resource.resetAllServices();
        }),
      }));
    }

    /** @param forget makes etcd3 open another channel when the next call needs it */
    #connectionOf(client: Grpc.Client, forget: () => void): Connection {
      const known = this.#connections.get(client);
      if (known !== undefined) return known;
      // The factory above creates all channels of this client.
      const connection = new Connection(client.getChannel() as ClosableChannel, grpc.connectivityState, {
        patience: this.#patience,
        onRetired: () => {
          if (this.#channel?.client === client) this.#channel = undefined;
          forget();
        },
        onClosed: () => this.#connections.delete(client),
      });
      this.#connections.set(client, connection);
      return connection;
    }

    async #authenticate({ ask, timeoutMs }: User): Promise<string> {
      const { username, password } = await ask();
      const request = encodeAuthenticate(username, password);
      const channel = await this.#withoutToken();
      return decodeToken(await this.#callOn(channel, methods.authenticate, request, performance.now() + timeoutMs));
    }

    #failed(channel: Channel, code: number, details: string, sentAt: number): CallFailure {
      const { connection } = channel;
      const isUnnamed = connection.failure !== undefined && /before call started$/.test(details);
      const failure = new CallFailure(
        code,
        isUnnamed ? connection.failure : details === '' ? `etcd ended the call with status ${String(code)}` : details,
      );
      if (this.#channel === channel && this.#authentication?.isTokenMissing(failure) === true) {
        this.#channel = undefined;
        this.#authentication.forget();
      }
      if (code === status.deadlineExceeded) this.#checkSilent(channel, sentAt);
      // A refusal is a response: the connection works.
      else if (resetting.includes(code) && failure.kind !== 'refused' && failure.kind !== 'no-space') connection.retire();
      else connection.receivedAt = performance.now();
      return failure;
    }

    /** Checks a channel without a response. Later calls wait for the result, or they would share its fate. */
    #checkSilent(channel: Channel, sentAt: number, then?: () => void): void {
      if (this.#channel?.client === channel.client) this.#channel = undefined;
      this.#checking = new Promise((resolve) => {
        // If the process was suspended, timers run before the bytes that arrived meanwhile.
        setImmediate(() => {
          channel.connection.check(sentAt);
          then?.();
          resolve();
        });
      });
    }
  };
}
