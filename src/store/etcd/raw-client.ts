/**
 * etcd3's client with a shorter way to the wire.
 *
 * It is an Etcd3: hosts, credentials and channels are etcd3's. What it adds are calls that take and give bytes, on
 * the channel that etcd3 has made: no message objects in between, and of grpc's layers only those that a call needs.
 */
import type { Client as GrpcClient, connectivityState, Metadata, status as GrpcStatus } from '@grpc/grpc-js';
import type { Etcd3, IOptions } from 'etcd3';
import { decodeToken } from './wire/decode.ts';
import { Authentication } from './authentication.ts';
import { Loader } from './loader.ts';
import { CallFailure, isStaleToken, noAnswer, status, toFailure } from './call-failure.ts';
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

export interface StreamListener {
  message(answer: Buffer): void;
  /** Once, and never after `end`. */
  ended(failure: CallFailure): void;
}

export interface Stream {
  write(request: Buffer): void;
  end(): void;
  /** As `end`, where an answer to what was written is overdue. */
  giveUp(): void;
}

export interface RawClient {
  /**
   * A unary call; `until` is by the monotonic clock, which nobody sets.
   * @throws {CallFailure} by then at the latest
   */
  call(method: Method, request: Buffer, until: number): Promise<Buffer>;
  /**
   * A stream that etcd ends where the member has no leader.
   * @throws {CallFailure} by then at the latest
   */
  stream(method: Method, listener: StreamListener, until: number): Promise<Stream>;
  /** Ends what is under way. */
  close(): void;
}

/** Loading etcd3 takes 100 ms, which an import of this package must not cost. */
const clientClass = new Loader(async () => {
  const [{ Etcd3 }, grpc] = await Promise.all([import('etcd3'), import('@grpc/grpc-js')]);
  return rawClientOn(Etcd3, grpc.status, grpc.connectivityState);
});

export interface User {
  readonly username: string;
  readonly password: string;
  /** How long etcd may take to make a token. */
  readonly timeoutMs: number;
}

export async function openClient(options: Omit<IOptions, 'auth'>, user?: User): Promise<RawClient> {
  const Client = await clientClass.load();
  return new Client(options, user);
}

/** After these etcd3 makes new channels, which connect at once where the old ones would wait. */
const renewing: readonly number[] = [status.unknown, status.resourceExhausted, status.aborted, status.internal, status.unavailable];

type Call = ReturnType<ReturnType<GrpcClient['getChannel']>['createCall']>;

interface Connection {
  readonly client: GrpcClient;
  /** With the token, where there is a user. */
  readonly metadata: Metadata;
  /** Closes the channels; others are made when they are needed. */
  readonly reset: () => void;
  /** When anything came on it, by performance.now(). */
  heardAt: number;
}

function rawClientOn(Base: typeof Etcd3, { OK, CANCELLED }: typeof GrpcStatus, { READY }: typeof connectivityState) {
  return class extends Base implements RawClient {
    readonly #authentication: Authentication | undefined;
    readonly #underWay = new Set<{ cancel(): void }>();
    /** Those whose channels were closed: many calls fail on one, but it is to be replaced once. */
    readonly #abandoned = new WeakSet<GrpcClient>();
    /** Kept until a call fails, so that a call has nothing to wait for. */
    #connection: Connection | undefined;

    constructor(options: Omit<IOptions, 'auth'>, user?: User) {
      super(options);
      if (user !== undefined) this.#authentication = new Authentication(() => this.#authenticate(user));
    }

    async call(method: Method, request: Buffer, until: number): Promise<Buffer> {
      try {
        return await this.#callOn(this.#connection ?? (await this.#connect(until)), method, request, until);
      } catch (error) {
        if (this.#authentication === undefined || toFailure(error).kind !== 'stale-token') throw error;
      }
      // Refused before anything was applied, so it may be sent again.
      return this.#callOn(await this.#connect(until), method, request, until);
    }

    #callOn(connection: Connection, method: Method, request: Buffer, until: number): Promise<Buffer> {
      return new Promise((resolve, reject) => {
        const call = newCall(connection, method, until);
        const sentAt = performance.now();
        let answer: Buffer | undefined;
        const underWay = {
          cancel: () => {
            call.cancelWithStatus(CANCELLED, 'locker closed');
          },
        };
        this.#underWay.add(underWay);
        call.start(connection.metadata, {
          onReceiveMetadata: () => {
            connection.heardAt = performance.now();
          },
          onReceiveMessage: (message: Buffer) => {
            answer = message;
          },
          onReceiveStatus: ({ code, details }) => {
            this.#underWay.delete(underWay);
            if (code === OK && answer !== undefined) resolve(answer);
            else reject(this.#failed(connection, code, details, sentAt));
          },
        });
        call.startRead();
        call.sendMessageWithContext({}, request);
        call.halfClose();
      });
    }

    async stream(method: Method, listener: StreamListener, until: number): Promise<Stream> {
      const connection = this.#connection ?? (await this.#connect(until));
      const metadata = connection.metadata.clone();
      metadata.set('hasleader', 'true');
      const call = atOpenChannel(() => connection.client.makeBidiStreamRequest(method, asIs, asIs, metadata));
      let hasEnded = false;
      let writtenAt = performance.now();
      this.#underWay.add(call);
      call.on('data', (message: Buffer) => {
        connection.heardAt = performance.now();
        if (!hasEnded) listener.message(message);
      });
      // The status comes right after it, and says the same.
      call.on('error', () => undefined);
      call.on('status', ({ code, details }) => {
        this.#underWay.delete(call);
        if (hasEnded) return;
        hasEnded = true;
        listener.ended(this.#failed(connection, code, details, writtenAt));
      });
      return {
        write: (request) => {
          if (hasEnded) return;
          writtenAt = performance.now();
          call.write(request);
        },
        end: () => {
          hasEnded = true;
          call.cancel();
        },
        giveUp: () => {
          if (hasEnded) return;
          hasEnded = true;
          // An answer that has come already is heard by then.
          this.#unanswered(connection, writtenAt, () => {
            call.cancel();
          });
        },
      };
    }

    override close(): void {
      this.#connection = undefined;
      super.close();
      for (const call of [...this.#underWay]) call.cancel();
    }

    /** What etcd3 would make a call on, with the token where there is one. */
    async #connect(until: number): Promise<Connection> {
      this.#connection = await before(until, this.#withToken());
      return this.#connection;
    }

    async #withToken(): Promise<Connection> {
      const connection = await this.#plain();
      const token = await this.#authentication?.token();
      if (token !== undefined) connection.metadata.set('token', token);
      return connection;
    }

    #plain(): Promise<Connection> {
      return this.pool.withConnection('KV', ({ client, metadata, resource }) => ({
        client,
        metadata,
        reset: () => {
          resource.resetAllServices();
        },
        heardAt: 0,
      }));
    }

    async #authenticate({ username, password, timeoutMs }: User): Promise<string> {
      const request = encodeAuthenticate(username, password);
      return decodeToken(await this.#callOn(await this.#plain(), methods.authenticate, request, performance.now() + timeoutMs));
    }

    #failed(connection: Connection, code: number, details: string, sentAt: number): CallFailure {
      if (isStaleToken(details) && this.#connection === connection) {
        this.#connection = undefined;
        this.#authentication?.forget();
      }
      if (renewing.includes(code)) this.#abandon(connection);
      if (code === status.deadlineExceeded) this.#unanswered(connection, sentAt);
      return new CallFailure(code, details === '' ? `etcd ended the call with status ${String(code)}` : details);
    }

    /**
     * A connection that passes nothing any more need not say so, as where a firewall has forgotten it: then TCP takes a quarter
     * of an hour to give it up. One that is being made is left alone, as others may be waiting for it.
     */
    #unanswered(connection: Connection, sentAt: number, then?: () => void): void {
      // In a process that was held up timers come before all that arrived meanwhile.
      setImmediate(() => {
        const isConnected = connection.client.getChannel().getConnectivityState(false) === READY;
        if (isConnected && connection.heardAt < sentAt) this.#abandon(connection);
        then?.();
      });
    }

    #abandon({ client, reset }: Connection): void {
      if (this.#abandoned.has(client)) return;
      this.#abandoned.add(client);
      this.#connection = undefined;
      reset();
    }
  };
}

function newCall({ client }: Connection, method: Method, until: number): Call {
  const timeoutMs = until - performance.now();
  // grpc-js may send a call first and notice its deadline then.
  if (timeoutMs <= 0) throw new CallFailure(status.deadlineExceeded, 'Deadline exceeded before call started');
  return atOpenChannel(() => client.getChannel().createCall(method, Date.now() + timeoutMs, null, null, null));
}

function atOpenChannel<T>(start: () => T): T {
  try {
    return start();
  } catch (error) {
    throw new CallFailure(status.unavailable, 'Channel closed before call started', error);
  }
}

const asIs = (message: Buffer): Buffer => message;

/** What comes before a call has no deadline of its own. */
function before<T>(until: number, task: Promise<T>): Promise<T> {
  const timeoutMs = Math.max(0, until - performance.now());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(noAnswer(timeoutMs));
    }, timeoutMs).unref();
    task
      .then(resolve, (error: unknown) => {
        reject(toFailure(error));
      })
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
