/**
 * TLS for the connections of one channel.
 *
 * The credentials of grpc-js are fixed for a channel, and a channel connects again by itself. These ask for the certificates at
 * each connection, so a renewed certificate is used without a new channel. They also take a passphrase. They do not send an IP
 * address as the name of the server, which RFC 6066 forbids, but they verify it. The rest is as in grpc-js, with the same
 * environment variables.
 */
import type { Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import type { Credentials, EtcdOptions } from '../../options/options.ts';
import { askCredentials } from './secrets.ts';

type Grpc = typeof import('@grpc/grpc-js');
type CreateConnector = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<CreateConnector>;

// An import takes some milliseconds, and many lockers use no TLS.
const tls = () => process.getBuiltinModule('node:tls');

export interface TlsOptions {
  /** The name or the IP address of the host. The certificate of the server must be valid for it. */
  readonly hostname: string;
  readonly credentials: NonNullable<EtcdOptions['credentials']>;
  /** The time in milliseconds that a function has to return credentials. */
  readonly askMs: number;
}

export function tlsCredentials({ ChannelCredentials: Base, credentials: { createEmpty } }: Grpc, options: TlsOptions): ChannelCredentials {
  const { hostname, credentials, askMs } = options;
  let fixed: SecureContext | undefined;
  const nextContext = async (): Promise<SecureContext> => {
    // The same object may contain another certificate the next time.
    if (typeof credentials === 'function') return buildContext(await askCredentials(credentials, askMs));
    return (fixed ??= buildContext(credentials));
  };
  class TlsCredentials extends Base {
    override _isSecure(): boolean {
      return true;
    }

    override _equals(other: ChannelCredentials): boolean {
      return other === this;
    }

    override _createSecureConnector(...[, channelOptions, callCredentials = createEmpty()]: Parameters<CreateConnector>): Connector {
      const name = channelOptions['grpc.ssl_target_name_override'] ?? hostname;
      const pending = new Set<Socket>();
      return {
        async connect(socket) {
          pending.add(socket);
          try {
            const context = await nextContext();
            return { socket: await handshake(socket, name, context), secure: true };
          } finally {
            pending.delete(socket);
          }
        },
        waitForReady: () => Promise.resolve(),
        getCallCredentials: () => callCredentials,
        destroy() {
          for (const socket of pending) socket.destroy();
        },
      };
    }
  }
  return new TlsCredentials();
}

/** @throws {Error} OpenSSL does not take the certificates or the key */
function buildContext({ rootCertificate, privateKey, certChain, passphrase }: Credentials): SecureContext {
  const { GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: rootsFile, GRPC_SSL_CIPHER_SUITES: ciphers } = process.env;
  try {
    // Without `ca`, Node trusts its own list, NODE_EXTRA_CA_CERTS and, with --use-system-ca, the authorities of the system.
    const ca = rootCertificate ?? (rootsFile === undefined ? undefined : process.getBuiltinModule('node:fs').readFileSync(rootsFile));
    return tls().createSecureContext({ ca, key: privateKey, cert: certChain, passphrase, ciphers });
  } catch (error) {
    throw new Error(`the option credentials cannot be used: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function handshake(socket: Socket, name: string, secureContext: SecureContext): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const { connect, checkServerIdentity } = tls();
    const secured = connect(
      {
        socket,
        secureContext,
        host: name,
        ...(process.getBuiltinModule('node:net').isIP(name) === 0 ? { servername: name } : {}),
        // Node's own choice of the name to verify differs between its versions.
        checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
        ALPNProtocols: ['h2'],
      },
      () => {
        secured.off('error', reject).off('close', closed);
        resolve(secured);
      },
    );
    const closed = (): void => {
      reject(new Error('Client network socket disconnected before secure TLS connection was established'));
    };
    secured.on('error', reject).on('close', closed);
  });
}
