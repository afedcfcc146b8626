/**
 * Watches without a listener that stay open for the next caller.
 *
 * Callers that wait for one name have the same predecessor again and again. Only watches for the deletion of a single entry stay
 * open: after that deletion they have nothing left to report.
 */
import type { WatchListener, WatchRequest } from '../store.ts';

export interface Watch {
  readonly request: WatchRequest;
  /** Undefined while the watch is idle. */
  listener: WatchListener | undefined;
  /** The id on the current stream, or `noId`. */
  id: number;
  /** The revision of the newest event, or of the creation. Undefined until etcd has created the watch. */
  seenAt: bigint | undefined;
}

/** The id of a watch that is on no stream. */
export const noId = -1;

const maxIdle = 32;

export class IdleWatches {
  readonly #watches = new Map<string, Watch>();

  /** Keeps the watch if it may be resumed later. Returns the watch to cancel, if any: this one or the oldest. */
  add(watch: Watch): Watch | undefined {
    const { key } = watch.request;
    if (!isKeepable(watch.request) || watch.seenAt === undefined || this.#watches.has(key)) return watch;
    this.#watches.set(key, watch);
    return this.#watches.size > maxIdle ? this.#takeOldest() : undefined;
  }

  /** Removes and returns the idle watch for the request. */
  take(request: WatchRequest): Watch | undefined {
    const watch = isKeepable(request) ? this.#watches.get(request.key) : undefined;
    if (watch !== undefined) this.#watches.delete(request.key);
    return watch;
  }

  delete({ request }: Watch): void {
    this.#watches.delete(request.key);
  }

  clear(): void {
    this.#watches.clear();
  }

  #takeOldest(): Watch | undefined {
    for (const oldest of this.#watches.values()) {
      this.delete(oldest);
      return oldest;
    }
    return undefined;
  }
}

const isKeepable = ({ rangeEnd, deletesOnly }: WatchRequest): boolean => rangeEnd === undefined && deletesOnly === true;
