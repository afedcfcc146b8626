/**
 * A channel of grpc-js whose connections can be closed at every moment, also while they are in the making.
 *
 * `close()` of grpc-js does nothing to a connection that the server has not answered yet. But grpc-js passes the addresses of its
 * resolvers to `net.connect` as options. So the resolver of this file adds the option `signal`, which closes the socket
 * (docs/decisions/015).
 */
import type { ChannelCredentials, ChannelInterface, ChannelOptions, experimental as Experimental } from '@grpc/grpc-js';
import { tlsCredentials, type TlsOptions } from './tls-credentials.ts';

type Grpc = typeof import('@grpc/grpc-js');

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

/**
 * Returns the function that creates the channels of a client, for the option `channelFactoryOverride`.
 *
 * The credentials that etcd3 made are not used: it may have another copy of grpc-js, and they are fixed.
 */
export function channelFactory(grpc: Grpc, tls: TlsOptions | undefined) {
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
  const credentials = tls === undefined ? grpc.credentials.createInsecure() : tlsCredentials(grpc, tls);
  return (address: string, _: ChannelCredentials, channelOptions: ChannelOptions): ClosableChannel =>
    new ClosableChannelOn(address, credentials, channelOptions);
}

function resolverOn({ createResolver }: typeof Experimental) {
  return class SocketResolver implements Experimental.Resolver {
    readonly #inner: Experimental.Resolver;

    constructor({ path }: Experimental.GrpcUri, listener: Experimental.ResolverListener, options: ChannelOptions) {
      const sockets = options[socketsOption] as Sockets;
      const addSignal: Experimental.ResolverListener = (endpoints, ...rest) => {
        if (endpoints.ok) {
          sockets.isResolved = true;
          for (const address of endpoints.value.flatMap(({ addresses }) => addresses)) {
            Object.defineProperty(address, 'signal', { get: () => signalOf(sockets), enumerable: true });
          }
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

/**
 * Returns the signal for a socket.
 * @throws {Error} the sockets are closed: Node connects a socket although its signal has aborted before, and never closes it
 */
function signalOf({ signal }: Sockets): AbortSignal {
  if (signal.aborted) throw new Error('Channel closed before call started');
  return signal;
}
