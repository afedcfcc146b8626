/**
 * One member of the cluster, through an Etcd3 client of its own.
 *
 * One client a host, so that which host is asked is our choice: with several, etcd3 picks one at random for every call. Its
 * policies do nothing here, as the defaults send one slow call four times and then refuse all others for five seconds.
 */
import type { CallOptions, ChannelOptions, InterceptingCall, Interceptor } from '@grpc/grpc-js';
import type { Etcd3, IOptions, IRequestOp } from 'etcd3';
import type { EtcdOptions } from '../../options.ts';
import { Authentication } from './authentication.ts';
import { CallFailure, isDenied, noAnswer, toFailure } from './failures.ts';

type Policy = ReturnType<NonNullable<NonNullable<IOptions['faultHandling']>['host']>>;

/** Loading etcd3 takes 100 ms, which an import of this package must not cost. */
const loadDriver = async () => {
  const [{ Etcd3 }, grpc] = await Promise.all([import('etcd3'), import('@grpc/grpc-js')]);
  return { Etcd3, grpc };
};
let driver: ReturnType<typeof loadDriver> | undefined;

interface Connected {
  readonly client: Etcd3;
  readonly grpc: Awaited<ReturnType<typeof loadDriver>>['grpc'];
  /** Where there is a user to authenticate. */
  readonly authentication: Authentication | undefined;
}

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

export interface Stream<Request, Answer> {
  write(request: Request): void;
  end(): void;
  cancel(): void;
  on(event: 'data', listener: (answer: Answer) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

type Endable = Pick<Stream<never, unknown>, 'end' | 'cancel'> & { on(event: 'error', listener: () => void): unknown };

export class Host {
  /** Without the scheme. */
  readonly address: string;
  readonly #url: string;
  readonly #options: EtcdOptions;
  readonly #authTimeoutMs: number;
  readonly #underWay = new Set<InterceptingCall>();
  readonly #streams = new Set<Endable>();
  #client: Promise<Connected> | undefined;
  #checksNested: Promise<boolean> | undefined;
  #isClosed = false;

  constructor(url: string, options: EtcdOptions, authTimeoutMs: number) {
    this.#url = url;
    this.#options = options;
    this.#authTimeoutMs = authTimeoutMs;
    this.address = url.replace(/^https?:\/\//, '');
  }

  /**
   * A unary call.
   * @throws {CallFailure} within `timeoutMs`
   */
  async call<T>(timeoutMs: number, request: (client: Etcd3, options: CallOptions) => Promise<T>): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    let isOver = false;
    try {
      // grpc-js tells at its deadline how far the call came; our own timer is there for what comes before the call.
      return await within(timeoutMs + 50, async () => {
        const connected = await this.#connect();
        const send = async (...interceptors: Interceptor[]): Promise<T> => {
          if (isOver) throw noAnswer(timeoutMs); // nobody waits any more, so it is not sent
          return this.#send(connected, deadline, request, interceptors);
        };
        return connected.authentication?.run(send) ?? send();
      });
    } catch (error) {
      throw toFailure(error);
    } finally {
      isOver = true;
    }
  }

  async #send<T>(
    { client, grpc }: Omit<Connected, 'authentication'>,
    deadline: number,
    request: (client: Etcd3, options: CallOptions) => Promise<T>,
    interceptors: readonly Interceptor[],
  ): Promise<T> {
    let call: InterceptingCall | undefined;
    const track: Interceptor = (options, next) => {
      call = new grpc.InterceptingCall(next(options));
      this.#underWay.add(call);
      return call;
    };
    try {
      return await request(client, { deadline, interceptors: [track, ...interceptors] });
    } finally {
      if (call !== undefined) this.#underWay.delete(call);
    }
  }

  /**
   * A stream that etcd ends where the member has no leader; `close` and the caller may end it too.
   * @throws {CallFailure} within `timeoutMs`
   */
  async stream<Request, Answer>(
    timeoutMs: number,
    open: (client: Etcd3, options: CallOptions) => Promise<Stream<Request, Answer>>,
  ): Promise<Stream<Request, Answer>> {
    let isLate = false;
    const opening = this.#connect().then(async ({ client, grpc, authentication }) => {
      const withToken = await authentication?.interceptor();
      const requireLeader: Interceptor = (options, next) =>
        new grpc.InterceptingCall(next(options), {
          start: (metadata, listener, start) => {
            metadata.set('hasleader', 'true');
            start(metadata, listener);
          },
        });
      return open(client, { interceptors: withToken === undefined ? [requireLeader] : [requireLeader, withToken] });
    });
    opening.then(
      (stream) => {
        if (isLate || this.#isClosed) endStream(stream);
      },
      () => undefined,
    );
    try {
      const stream = await within(timeoutMs, () => opening);
      const isOver = (): void => {
        this.#streams.delete(stream);
      };
      this.#streams.add(stream);
      stream.on('end', isOver);
      stream.on('error', isOver);
      return stream;
    } catch (error) {
      isLate = true;
      throw toFailure(error);
    }
  }

  /**
   * Whether this member checks permissions inside nested transactions, as servers before 3.4.42, 3.5.28 and 3.6.9 do not
   * (CVE-2026-33343). Its version may be asked by root only, so its behaviour is asked: once, with a read that tells nothing.
   */
  checksNestedPermissions(timeoutMs: number): Promise<boolean> {
    if (this.#options.auth === undefined && this.#options.credentials?.certChain === undefined) return Promise.resolve(true);
    return (this.#checksNested ??= this.#probeNested(timeoutMs).catch(() => {
      this.#checksNested = undefined;
      return false;
    }));
  }

  async #probeNested(timeoutMs: number): Promise<boolean> {
    const read = { request_range: { key: Buffer.from('\0'), count_only: true } };
    const mayRead = async (operation: IRequestOp): Promise<boolean> => {
      try {
        await this.call(timeoutMs, ({ kv }, options) => kv.txn({ compare: [], success: [operation], failure: [] }, options));
        return true;
      } catch (error) {
        if (isDenied(toFailure(error))) return false;
        throw error;
      }
    };
    return !(await mayRead({ request_txn: { compare: [], success: [read], failure: [] } })) || mayRead(read);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stream of [...this.#streams]) endStream(stream);
    const connected = await this.#client?.catch(() => undefined);
    if (connected === undefined) return;
    for (const call of this.#underWay) call.cancelWithStatus(connected.grpc.status.CANCELLED, 'locker closed');
    connected.client.close();
  }

  #connect(): Promise<Connected> {
    if (this.#isClosed) return Promise.reject(new CallFailure(14, 'Channel closed before call started'));
    return (this.#client ??= this.#newClient());
  }

  async #newClient(): Promise<Connected> {
    const { Etcd3, grpc } = await (driver ??= loadDriver());
    const { auth, credentials, grpcOptions } = this.#options;
    const { privateKey, certChain } = credentials ?? {};
    const channel: ChannelOptions = {
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.enable_http_proxy': 0,
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
      ...(grpcOptions as ChannelOptions),
      // Nobody but us may send a request again: not grpc-js by itself, nor as a service config in the DNS may tell it to.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
    };
    const client = new Etcd3({
      hosts: this.#url,
      faultHandling: { host: noPolicy, global: noPolicy() },
      grpcOptions: channel,
      ...(credentials === undefined
        ? {}
        : { credentials: { rootCertificate: credentials.rootCertificate, ...(privateKey && certChain ? { privateKey, certChain } : {}) } }),
    });
    const authentication = auth && new Authentication(grpc, () => this.#authenticate({ client, grpc }, auth));
    return { client, grpc, authentication };
  }

  async #authenticate(
    connected: Omit<Connected, 'authentication'>,
    { username, password }: NonNullable<EtcdOptions['auth']>,
  ): Promise<string> {
    const ask = (client: Etcd3, options: CallOptions) => client.auth.authenticate({ name: username, password }, options);
    return (await this.#send(connected, Date.now() + this.#authTimeoutMs, ask, [])).token;
  }
}

// In this order: cancel alone counts as a failure of the host, for which etcd3 closes its channels.
export function endStream(stream: Endable): void {
  stream.on('error', () => undefined);
  stream.end();
  stream.cancel();
}

function within<T>(timeoutMs: number, task: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(noAnswer(timeoutMs));
    }, timeoutMs).unref();
    task()
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
