/**
 * The one watch stream of a locker, for all that it watches.
 *
 * A stream of etcd3's never reconnects and a hung one never says so. Here every break, cancel or unanswered ping ends in a new
 * stream at the next host with every watch created anew, each of which tells its listener the revision from which it stands.
 */
import { backoffMs } from '../../backoff.ts';
import type { Logger } from '../../context.ts';
import type { WatchListener, WatchRequest } from '../store.ts';
import { type WatchResponse, decodeWatch } from './wire/decode.ts';
import { methods, type Stream } from './raw-client.ts';
import { toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import type { Hosts } from './hosts.ts';
import { encodeCancel, encodeRange, encodeWatch } from './wire/encode.ts';

interface Watch {
  readonly request: WatchRequest;
  /** None while it is kept for the next who asks for the same. */
  listener: WatchListener | undefined;
  /** On the stream of today; ids are never used twice. */
  id: number;
  /** The revision of its newest event, or that from which it stands; undefined until it does. */
  seenAt: bigint | undefined;
}

/** A create that was sent: answers come in the order of the requests, but a failed one bears no id. */
interface Pending {
  readonly id: number;
  readonly sentAt: number;
}

interface Connection {
  readonly host: Host;
  readonly stream: Stream;
  readonly pending: Pending[];
  heardAt: number;
}

/** How long a stream without watches is kept for the next one; it holds the process. */
const lingerMs = 100;
/** How many watches without a listener are kept. Callers that take turns on a name have the same predecessor each time. */
const maxIdle = 32;

export class WatchStream {
  readonly #hosts: Hosts;
  readonly #logger: Logger;
  readonly #pingAfterMs: number;
  readonly #watches = new Set<Watch>();
  readonly #byId = new Map<number, Watch>();
  readonly #idle = new Map<string, Watch>();
  #connection: Connection | undefined;
  #isConnecting = false;
  #failures = 0;
  #lastId = 0;
  #timer: NodeJS.Timeout | undefined;
  #lingering: NodeJS.Timeout | undefined;

  constructor(hosts: Hosts, logger: Logger, requestTimeoutMs: number) {
    this.#hosts = hosts;
    this.#logger = logger;
    this.#pingAfterMs = Math.max(500, requestTimeoutMs / 2);
  }

  add(request: WatchRequest, listener: WatchListener): () => void {
    clearTimeout(this.#lingering);
    const watch = this.#resume(request, listener) ?? this.#begin(request, listener);
    return () => {
      if (watch.listener === listener) this.#remove(watch);
    };
  }

  #begin(request: WatchRequest, listener: WatchListener): Watch {
    const watch: Watch = { request, listener, id: 0, seenAt: undefined };
    this.#watches.add(watch);
    if (this.#connection === undefined) void this.#connect();
    else this.#create(this.#connection, watch);
    return watch;
  }

  /** It has stood all the while, so all that the listener may have missed is what it has seen: up to that revision. */
  #resume(request: WatchRequest, listener: WatchListener): Watch | undefined {
    const watch = isKeepable(request) ? this.#idle.get(request.key) : undefined;
    if (watch === undefined) return undefined;
    this.#idle.delete(request.key);
    this.#watches.add(watch);
    watch.listener = listener;
    queueMicrotask(() => {
      if (watch.listener === listener && watch.seenAt !== undefined) listener.created(watch.seenAt);
    });
    return watch;
  }

  close(): void {
    this.#watches.clear();
    this.#disconnect();
  }

  #remove(watch: Watch): void {
    watch.listener = undefined;
    if (!this.#watches.delete(watch)) return;
    this.#keepOrCancel(watch);
    if (this.#watches.size > 0) return;
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => {
      this.#disconnect();
    }, lingerMs);
  }

  #keepOrCancel(watch: Watch): void {
    const { key } = watch.request;
    const isKept = isKeepable(watch.request) && watch.seenAt !== undefined && this.#byId.has(watch.id) && !this.#idle.has(key);
    if (!isKept) {
      this.#cancel(watch);
      return;
    }
    this.#idle.set(key, watch);
    if (this.#idle.size <= maxIdle) return;
    for (const [oldestKey, oldest] of this.#idle) {
      this.#idle.delete(oldestKey);
      this.#cancel(oldest);
      return;
    }
  }

  #cancel(watch: Watch): void {
    if (this.#byId.delete(watch.id)) this.#connection?.stream.write(encodeCancel(watch.id));
  }

  async #connect(): Promise<void> {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    while (this.#watches.size > 0 && this.#connection === undefined) {
      const host = this.#hosts.current;
      try {
        if (this.#failures > 1) await this.#hosts.sleep(backoffMs(this.#failures - 1));
        await this.#open(host);
      } catch (error) {
        this.#failed(host, toFailure(error).details);
      }
    }
    this.#isConnecting = false;
  }

  async #open(host: Host): Promise<void> {
    const at: { connection?: Connection; failure?: Error } = {};
    const broken = (error: Error): void => {
      at.failure = error;
      if (at.connection !== undefined) this.#broken(at.connection, error.message);
    };
    const stream = await host.stream(this.#hosts.tryMs, methods.watch, {
      message: (answer) => {
        const { connection } = at;
        if (connection === undefined || this.#connection !== connection) return;
        try {
          this.#take(connection, decodeWatch(answer));
        } catch (error) {
          broken(toFailure(error));
        }
      },
      ended: broken,
    });
    if (at.failure !== undefined) throw at.failure;
    if (this.#watches.size === 0) {
      stream.end();
      return;
    }
    at.connection = { host, stream, pending: [], heardAt: performance.now() };
    this.#connected(at.connection);
  }

  #connected(connection: Connection): void {
    this.#connection = connection;
    this.#timer = setInterval(() => {
      this.#checkAlive(connection);
    }, this.#pingAfterMs / 4).unref();
    for (const watch of this.#watches) this.#create(connection, watch);
  }

  #create(connection: Connection, watch: Watch): void {
    watch.seenAt = undefined;
    watch.id = this.#send(connection, watch.request);
    this.#byId.set(watch.id, watch);
  }

  #send({ stream, pending }: Connection, request: WatchRequest): number {
    const id = ++this.#lastId;
    pending.push({ id, sentAt: performance.now() });
    stream.write(encodeWatch(request, id));
    return id;
  }

  #take(connection: Connection, answer: WatchResponse): void {
    connection.heardAt = performance.now();
    // First whether it was cancelled: a create that failed is both created and cancelled.
    if (answer.canceled) this.#cancelled(connection, answer);
    else if (answer.created) this.#created(connection, answer);
    else {
      const { events } = answer;
      const watch = this.#byId.get(answer.watchId);
      const newest = events.at(-1);
      if (watch === undefined || newest === undefined) return;
      // Before the listener hears of it, as that one may let go of the watch in the same turn.
      watch.seenAt = newest.kv.modRevision;
      watch.listener?.events(events);
    }
  }

  #created({ pending, stream }: Connection, { header, watchId }: WatchResponse): void {
    pending.shift();
    this.#failures = 0;
    const watch = this.#byId.get(watchId);
    if (watch === undefined) {
      stream.write(encodeCancel(watchId));
      return;
    }
    watch.seenAt = header.revision;
    watch.listener?.created(watch.seenAt);
  }

  #cancelled(connection: Connection, { created, watchId, cancelReason }: WatchResponse): void {
    const id = created ? connection.pending.shift()?.id : watchId;
    const watch = id === undefined ? undefined : this.#byId.get(id);
    // What we have cancelled ourselves, or a ping, is nobody's any more.
    if (watch === undefined) return;
    if (watch.listener === undefined) {
      this.#byId.delete(watch.id);
      this.#idle.delete(watch.request.key);
      return;
    }
    if (!/permission denied/.test(cancelReason)) {
      this.#broken(connection, cancelReason === '' ? 'the watch was cancelled' : cancelReason);
      return;
    }
    // It alone may not; the others go on. The right to it may come back.
    this.#byId.delete(watch.id);
    this.#logger.warn(`etcd-locker: a watch was refused: ${cancelReason}`);
    void this.#hosts.sleep(1_000).then(() => {
      if (this.#connection === connection && this.#watches.has(watch)) this.#create(connection, watch);
    });
  }

  // A create is answered always, by a progress request on a stream without a watch that is in sync nothing is.
  #checkAlive(connection: Connection): void {
    const [oldest] = connection.pending;
    const now = performance.now();
    if (oldest !== undefined) {
      if (now - oldest.sentAt <= this.#hosts.tryMs) return;
      connection.stream.giveUp();
      this.#broken(connection, `no answer within ${String(Math.round(this.#hosts.tryMs))} ms`);
      return;
    }
    const [watch] = this.#watches;
    if (watch !== undefined && now - connection.heardAt > this.#pingAfterMs)
      this.#send(connection, { key: watch.request.key, deletesOnly: true });
  }

  #broken(connection: Connection, reason: string): void {
    if (this.#connection !== connection) return;
    this.#disconnect();
    this.#failed(connection.host, reason);
    void this.#connect();
  }

  #failed(host: Host, reason: string): void {
    this.#failures += 1;
    this.#hosts.failed(host);
    if (/auth|Unauthenticated/i.test(reason)) this.#refreshToken(host);
    this.#logger.debug(`etcd-locker: the watch stream to ${host.address} broke: ${reason}`);
  }

  // A stream is never re-authenticated; a unary call is, and the next stream of that client has its token.
  #refreshToken(host: Host): void {
    void host.call(this.#hosts.tryMs, methods.range, encodeRange({ key: '\0', keysOnly: true })).catch(() => undefined);
  }

  #disconnect(): void {
    clearTimeout(this.#lingering);
    clearInterval(this.#timer);
    const connection = this.#connection;
    this.#connection = undefined;
    this.#byId.clear();
    this.#idle.clear();
    connection?.stream.end();
  }
}

/** What a waiter asks for: the end of one entry, which leaves nothing to be told to whoever asks for it next. */
const isKeepable = ({ rangeEnd, deletesOnly }: WatchRequest): boolean => rangeEnd === undefined && deletesOnly === true;
