/**
 * One watch stream to one host.
 *
 * `etcd grpc-proxy` ignores the ids of creates. It gives out its own: the number of creates before, without the refused ones. So ids
 * count from 0 on each stream, which is the same. The proxy may confirm creates in another order than they were sent.
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
  #nextId = 0;
  #receivedAt = performance.now();
  #failure: Error | undefined;
  #isUnreferenced = false;

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
        connection.unref();
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

  /** Whether the process may end while the stream is open. Waiters and watches of the user keep it alive themselves. */
  get isUnreferenced(): boolean {
    return this.#isUnreferenced;
  }

  unref(): void {
    this.#isUnreferenced ||= this.#stream.unref();
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

  /** Creates a watch, and returns its id. */
  create(request: WatchRequest): number {
    const id = this.#nextId++;
    this.#pending.push({ id, sentAt: performance.now() });
    this.#stream.write(encodeWatch(request, id));
    return id;
  }

  /** Counts the create of this id as done, and returns the id. */
  finishCreate(id: number): number {
    const index = this.#pending.findIndex((create) => create.id === id);
    if (index !== -1) this.#pending.splice(index, 1);
    return id;
  }

  /** Counts the oldest create as refused, and returns its id. A proxy refuses without a revision, and uses the id again. */
  refuseCreate(revision: bigint): number | undefined {
    const id = this.#pending.shift()?.id;
    if (revision === 0n && this.#pending.length === 0 && id === this.#nextId - 1) this.#nextId = id;
    return id;
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
