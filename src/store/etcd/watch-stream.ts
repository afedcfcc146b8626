/**
 * The one watch stream of a locker, which carries all its watches.
 *
 * A broken stream, a cancelled watch or a ping without a response ends in a new stream at the next host. There every watch is
 * created again, and `created` reports the revision at which it starts: that is how listeners learn of the break. Two cancellations
 * keep the stream: that of an idle watch, and one for lack of permission, which is retried after a pause. etcd3's watchers are not
 * used, because their streams never reconnect and do not notice a host that hangs.
 */
import { backoffMs } from '../../backoff.ts';
import type { Logger } from '../../context.ts';
import type { WatchListener, WatchRequest } from '../store.ts';
import { isStaleToken, toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import type { Hosts } from './hosts.ts';
import { IdleWatches, isKeepable, noId, type Watch } from './idle-watches.ts';
import { methods } from './raw-client.ts';
import { type ConnectionListener, WatchConnection } from './watch-connection.ts';
import type { WatchResponse } from './wire/decode.ts';
import { encodeRange } from './wire/encode.ts';

/** How long a stream that is not needed stays open for the next watch. An open stream may keep the process alive. */
const lingerMs = 100;
/** How long after a refusal a watch is created again: the permission may have been granted meanwhile. */
const refusedAgainMs = 1_000;

export class WatchStream {
  readonly #hosts: Hosts;
  readonly #logger: Logger;
  readonly #pingAfterMs: number;
  readonly #watches = new Set<Watch>();
  readonly #byId = new Map<number, Watch>();
  readonly #idle = new IdleWatches();
  readonly #listener: ConnectionListener = {
    response: (connection, response) => {
      if (this.#connection === connection) this.#receive(connection, response);
    },
    broken: (connection, reason) => {
      this.#reconnect(connection, reason);
    },
  };
  #connection: WatchConnection | undefined;
  #isConnecting = false;
  #failures = 0;
  /** The watches that are not in the background. */
  #foreground = 0;
  #timer: NodeJS.Timeout | undefined;
  #lingering: NodeJS.Timeout | undefined;

  constructor(hosts: Hosts, logger: Logger, requestTimeoutMs: number) {
    this.#hosts = hosts;
    this.#logger = logger;
    this.#pingAfterMs = Math.max(500, requestTimeoutMs / 2);
  }

  /** Watches from now on. The returned function ends the watch. */
  add(request: WatchRequest, listener: WatchListener): () => void {
    clearTimeout(this.#lingering);
    if (request.isBackground !== true) this.#foreground += 1;
    const watch = this.#resume(request, listener) ?? this.#start(request, listener);
    return () => {
      if (watch.listener === listener) this.#remove(watch);
    };
  }

  close(): void {
    this.#watches.clear();
    this.#disconnect();
  }

  #start(request: WatchRequest, listener: WatchListener): Watch {
    const watch: Watch = { request, listener, id: noId, createdAt: undefined, newest: undefined, isResuming: false };
    this.#watches.add(watch);
    if (this.#connection === undefined) void this.#connect();
    else this.#create(this.#connection, watch);
    return watch;
  }

  #resume(request: WatchRequest, listener: WatchListener): Watch | undefined {
    const watch = this.#idle.take(request);
    if (watch === undefined) return undefined;
    this.#watches.add(watch);
    watch.request = request;
    watch.listener = listener;
    watch.isResuming = true;
    queueMicrotask(() => {
      if (watch.listener === listener) this.#confirmResumed(watch, listener);
    });
    return watch;
  }

  // An idle watch has seen all events since its creation. Only the newest is left, which is enough: they are deletions of one key.
  #confirmResumed(watch: Watch, listener: WatchListener): void {
    const { createdAt, newest, request } = watch;
    watch.isResuming = false;
    // The stream is another one, or has not created the watch yet: `created` is still to come.
    if (createdAt === undefined || this.#byId.get(watch.id) !== watch) return;
    const changedAt = newest?.kv.modRevision ?? 0n;
    const knownRevision = request.knownRevision ?? changedAt;
    // A proxy that confirms at revision 0 does not say since when the watch has seen events.
    listener.created(createdAt === 0n ? 0n : max(createdAt, knownRevision));
    if (newest !== undefined && changedAt > knownRevision && watch.listener === listener) listener.events([newest]);
  }

  #remove(watch: Watch): void {
    watch.listener = undefined;
    if (!this.#watches.delete(watch)) return;
    const cancelled = this.#byId.has(watch.id) ? this.#idle.add(watch) : watch;
    if (cancelled !== undefined) this.#cancel(cancelled);
    if (watch.request.isBackground !== true) this.#foreground -= 1;
    this.#lingerUnlessNeeded();
  }

  /** Ends the stream soon if nobody needs it. If grpc-js keeps the process alive for it, watches in the background do not need it. */
  #lingerUnlessNeeded(): void {
    const keepsBackground = this.#connection === undefined || this.#connection.isUnreferenced;
    if (this.#foreground > 0 || (this.#watches.size > 0 && keepsBackground)) return;
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => {
      this.#disconnect();
    }, lingerMs);
  }

  #cancel(watch: Watch): void {
    if (this.#byId.delete(watch.id)) this.#connection?.cancel(watch.id);
  }

  async #connect(): Promise<void> {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    while (this.#watches.size > 0 && this.#connection === undefined) {
      const host = this.#hosts.current;
      try {
        if (this.#failures > 1) await this.#hosts.sleep(backoffMs(this.#failures - 1));
        this.#connected(await WatchConnection.open(host, this.#hosts.tryMs, this.#listener));
      } catch (error) {
        this.#failed(host, toFailure(error).details);
      }
    }
    this.#isConnecting = false;
  }

  /** @throws the failure of a connection that is broken already */
  #connected(connection: WatchConnection): void {
    if (connection.failure !== undefined) throw connection.failure;
    if (this.#watches.size === 0) {
      connection.end();
      return;
    }
    this.#connection = connection;
    this.#timer = setInterval(() => {
      this.#checkAlive(connection);
    }, this.#pingAfterMs / 4).unref();
    for (const watch of this.#watches) this.#create(connection, watch);
    // grpc-js may have connected already. Otherwise the first response is the next occasion.
    setImmediate(() => {
      connection.unref();
    });
  }

  #create(connection: WatchConnection, watch: Watch): void {
    watch.createdAt = undefined;
    watch.newest = undefined;
    watch.id = connection.create(watch.request);
    this.#byId.set(watch.id, watch);
  }

  #receive(connection: WatchConnection, response: WatchResponse): void {
    // `canceled` comes first: the response to a failed create has both flags.
    if (response.canceled) this.#cancelled(connection, response);
    else if (response.created) this.#created(connection, response);
    else this.#changed(connection, response);
  }

  #changed(connection: WatchConnection, { watchId, events }: WatchResponse): void {
    const watch = this.#byId.get(watchId);
    const newest = events.at(-1);
    if (watch === undefined || newest === undefined) return;
    // A host that numbers watches in its own way: a listener must not take the events of another key for its own.
    if (watch.request.rangeEnd === undefined && newest.kv.key !== watch.request.key) {
      this.#reconnect(connection, 'an event belongs to another watch');
      return;
    }
    // Before the listener is called, because it may end the watch at once, which keeps it idle.
    watch.newest = newest;
    const { listener, request } = watch;
    if (watch.isResuming || listener === undefined) return;
    if (!isKeepable(request) || request.isBackground === true) {
      listener.events(events);
      return;
    }
    // A theft deletes the entry of a waiter and the one before it in one revision. etcd reports the two in any order. What has
    // arrived together is delivered with the own entry first: its watch is in the background.
    setImmediate(() => {
      if (watch.listener === listener) listener.events(events);
    });
  }

  #created(connection: WatchConnection, { header, watchId }: WatchResponse): void {
    connection.finishCreate(watchId);
    this.#failures = 0;
    const watch = this.#byId.get(watchId);
    if (watch === undefined) {
      connection.cancel(watchId);
      return;
    }
    watch.createdAt = header.revision;
    if (!watch.isResuming) watch.listener?.created(header.revision);
    this.#lingerUnlessNeeded();
  }

  #cancelled(connection: WatchConnection, { header, created, watchId, cancelReason }: WatchResponse): void {
    const id = created ? connection.refuseCreate(header.revision) : connection.finishCreate(watchId);
    const watch = id === undefined ? undefined : this.#byId.get(id);
    // A ping, or a watch that this stream has cancelled itself.
    if (watch === undefined) return;
    if (watch.listener === undefined) {
      this.#byId.delete(watch.id);
      this.#idle.delete(watch);
      return;
    }
    if (!/permission denied/.test(cancelReason)) {
      this.#reconnect(connection, cancelReason === '' ? 'etcd cancelled a watch' : cancelReason);
      return;
    }
    // The refusal concerns this watch only, so the stream stays.
    this.#byId.delete(watch.id);
    watch.id = noId;
    watch.listener.broken?.(0);
    this.#logger.warn(`etcd-locker: etcd refused a watch: ${cancelReason}`);
    void this.#createAgain(connection, watch);
  }

  async #createAgain(connection: WatchConnection, watch: Watch): Promise<void> {
    // etcd before 3.5 does not say that the refusal is for lack of a valid token.
    await this.#refreshToken(connection.host);
    if (!connection.isOutdated) await this.#hosts.sleep(refusedAgainMs);
    if (this.#connection !== connection || !this.#watches.has(watch)) return;
    if (connection.isOutdated) this.#reconnect(connection, 'another token is needed');
    else this.#create(connection, watch);
  }

  #checkAlive(connection: WatchConnection): void {
    const reason = connection.checkOverdue(this.#hosts.tryMs);
    if (reason !== undefined) {
      this.#reconnect(connection, reason);
      return;
    }
    const [watch] = this.#watches;
    const isQuiet = !connection.isWaiting && connection.quietMs > this.#pingAfterMs;
    // No watch has the id of this ping, so its response cancels it.
    if (watch !== undefined && isQuiet && this.#foreground > 0) connection.create({ key: watch.request.key, deletesOnly: true });
  }

  #reconnect(connection: WatchConnection, reason: string): void {
    if (this.#connection !== connection) return;
    const { quietMs } = connection;
    this.#disconnect();
    this.#failed(connection.host, reason);
    void this.#connect();
    for (const { listener } of [...this.#watches]) listener?.broken?.(quietMs);
  }

  #failed(host: Host, reason: string): void {
    this.#failures += 1;
    this.#hosts.failed(host);
    if (/auth|Unauthenticated/i.test(reason) || isStaleToken(reason)) void this.#refreshToken(host);
    this.#logger.debug(`etcd-locker: the watch stream to ${host.address} broke: ${reason}`);
  }

  // A stream does not authenticate again. A unary call does, and the next stream of that client uses its token.
  async #refreshToken(host: Host): Promise<void> {
    await host.call(this.#hosts.tryMs, methods.range, encodeRange({ key: '\0', keysOnly: true })).catch(() => undefined);
  }

  #disconnect(): void {
    clearTimeout(this.#lingering);
    clearInterval(this.#timer);
    const connection = this.#connection;
    this.#connection = undefined;
    this.#byId.clear();
    this.#idle.clear();
    connection?.end();
  }
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
