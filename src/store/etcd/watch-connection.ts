/**
 * One watch stream to one host.
 *
 * etcd responds to the creates of a stream in their order. A failed create has no id in its response, so the order tells which
 * create failed. A create is also the ping of the stream: etcd always responds to it. etcd does not respond to a progress request
 * on a stream without a watch in sync.
 */
import type { WatchRequest } from '../store.ts';
import { noResponse, toFailure } from './call-failure.ts';
import type { Stream } from './grpc-stream.ts';
import type { Host } from './host.ts';
import { methods } from './raw-client.ts';
import { decodeWatch, type WatchResponse } from './wire/decode.ts';
import { encodeCancel, encodeWatch } from './wire/encode.ts';

interface PendingCreate {
  readonly id: number;
  readonly sentAt: number;
}

export interface ConnectionListener {
  response(connection: WatchConnection, response: WatchResponse): void;
  broken(connection: WatchConnection, reason: string): void;
}

export class WatchConnection {
  readonly host: Host;
  readonly #stream: Stream;
  readonly #pending: PendingCreate[] = [];
  #receivedAt = performance.now();
  #failure: Error | undefined;

  private constructor(host: Host, stream: Stream) {
    this.host = host;
    this.#stream = stream;
  }

  /**
   * Opens a stream to the host.
   * @throws {CallFailure} within `timeoutMs`
   */
  static async open(host: Host, timeoutMs: number, listener: ConnectionListener): Promise<WatchConnection> {
    const opened: { connection?: WatchConnection; failure?: Error } = {};
    const broken = (error: Error): void => {
      opened.failure = error;
      if (opened.connection === undefined) return;
      opened.connection.#failure = error;
      listener.broken(opened.connection, error.message);
    };
    const stream = await host.stream(timeoutMs, methods.watch, {
      message: (message) => {
        const { connection } = opened;
        if (connection === undefined) return;
        connection.#receivedAt = performance.now();
        try {
          listener.response(connection, decodeWatch(message));
        } catch (error) {
          broken(toFailure(error));
        }
      },
      ended: broken,
    });
    if (opened.failure !== undefined) throw opened.failure;
    opened.connection = new WatchConnection(host, stream);
    return opened.connection;
  }

  /** Why the stream broke. It may break before the caller of `open` continues. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Whether a create has no response yet. */
  get isWaiting(): boolean {
    return this.#pending.length > 0;
  }

  /** The time since the last response. */
  get quietMs(): number {
    return performance.now() - this.#receivedAt;
  }

  /** Whether a new stream would use another token or another channel. */
  get isOutdated(): boolean {
    return this.#stream.isOutdated();
  }

  create(id: number, request: WatchRequest): void {
    this.#pending.push({ id, sentAt: performance.now() });
    this.#stream.write(encodeWatch(request, id));
  }

  /** Counts the oldest create as done, and returns its id. */
  finishCreate(): number | undefined {
    return this.#pending.shift()?.id;
  }

  cancel(id: number): void {
    this.#stream.write(encodeCancel(id));
  }

  /** Returns the reason to end the stream if the oldest create has had no response for `timeoutMs`. */
  checkOverdue(timeoutMs: number): string | undefined {
    const [oldest] = this.#pending;
    if (oldest === undefined || performance.now() - oldest.sentAt <= timeoutMs) return undefined;
    this.#stream.timeOut();
    return noResponse(timeoutMs).details;
  }

  end(): void {
    this.#stream.end();
  }
}
