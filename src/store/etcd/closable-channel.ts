/**
 * A channel of grpc-js whose connections can be closed at every moment, also while they are in the making.
 *
 * `close()` of grpc-js does nothing to a connection that the server has not answered yet. But grpc-js passes the addresses of its
 * resolvers to `net.connect` as options. So the resolver of this file adds the option `signal`, which closes the socket
 * (docs/decisions/015).
 */
import type {
  Channel,
  ChannelCredentials,
  ChannelInterface,
  ChannelOptions,
  credentials as Credentials,
  experimental as Experimental,
} from '@grpc/grpc-js';
import type { IOptions } from 'etcd3';

interface Grpc {
  readonly Channel: typeof Channel;
  readonly ChannelCredentials: typeof ChannelCredentials;
  readonly credentials: typeof Credentials;
  readonly experimental: typeof Experimental;
}

export interface ClosableChannel extends ChannelInterface {
  /** Whether the addresses of the host are known. */
  readonly isResolved: boolean;
  /** Closes the channel and all its sockets. */
  destroy(): void;
}

/** What a channel and its resolver share. */
interface Sockets {
  readonly signal: AbortSignal;
  isResolved: boolean;
}

const scheme = 'etcd-locker';
/** The option of the channel that has its `Sockets`. */
const socketsOption = 'etcd-locker.sockets';

/** Returns the function that creates the channels of a client, for the option `channelFactoryOverride`. */
export function channelFactory(grpc: Grpc, options: Pick<IOptions, 'hosts' | 'credentials'>) {
  const { Channel: Base, experimental } = grpc;

  class ClosableChannelOn extends Base implements ClosableChannel {
    readonly #abort: AbortController;
    readonly #sockets: Sockets;

    constructor(address: string, credentials: ChannelCredentials, channelOptions: ChannelOptions) {
      const abort = new AbortController();
      const sockets: Sockets = { signal: abort.signal, isResolved: false };
      super(`${scheme}:${address}`, credentials, { ...channelOptions, [socketsOption]: sockets });
      this.#abort = abort;
      this.#sockets = sockets;
    }

    get isResolved(): boolean {
      return this.#sockets.isResolved;
    }

    destroy(): void {
      this.close();
      this.#abort.abort();
    }
  }

  experimental.registerResolver(scheme, resolverOn(experimental));
  return (address: string, credentials: ChannelCredentials, channelOptions: ChannelOptions): ClosableChannel =>
    new ClosableChannelOn(address, ofThisCopy(grpc, credentials, options), channelOptions);
}

function resolverOn({ createResolver }: typeof Experimental) {
  return class SocketResolver implements Experimental.Resolver {
    readonly #inner: Experimental.Resolver;

    constructor({ path }: Experimental.GrpcUri, listener: Experimental.ResolverListener, options: ChannelOptions) {
      const sockets = options[socketsOption] as Sockets;
      const addSignal: Experimental.ResolverListener = (endpoints, ...rest) => {
        if (endpoints.ok) {
          sockets.isResolved = true;
          for (const address of endpoints.value.flatMap(({ addresses }) => addresses)) Object.assign(address, { signal: sockets.signal });
        }
        return listener(endpoints, ...rest);
      };
      this.#inner = createResolver({ scheme: 'dns', path }, addSignal, options);
    }

    updateResolution(): void {
      this.#inner.updateResolution();
    }

    destroy(): void {
      this.#inner.destroy();
    }

    /** Returns the name that TLS expects in the certificate. */
    static getDefaultAuthority({ path }: Experimental.GrpcUri): string {
      return path;
    }
  };
}

/** If etcd3 has another copy of grpc-js than this package, a channel refuses the credentials that etcd3 made. */
function ofThisCopy(
  { ChannelCredentials: Class, credentials: make }: Grpc,
  given: ChannelCredentials,
  { hosts, credentials }: Pick<IOptions, 'hosts' | 'credentials'>,
): ChannelCredentials {
  if (given instanceof Class) return given;
  if (credentials !== undefined) return make.createSsl(credentials.rootCertificate, credentials.privateKey, credentials.certChain);
  return String(hosts).startsWith('https:') ? make.createSsl() : make.createInsecure();
}
