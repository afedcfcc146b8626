/**
 * Watches without a listener that stay open for the next caller.
 *
 * Callers that wait for one name have the same predecessor again and again. Only watches for the deletion of a single entry stay open.
 * Such a watch remembers its newest event. The next caller may have read the key before that deletion, and learns of it at once. An
 * earlier deletion of the same key would add nothing.
 */
import type { WatchEvent, WatchListener, WatchRequest } from '../store.ts';

export interface Watch {
  request: WatchRequest;
  /** Undefined while the watch is idle. */
  listener: WatchListener | undefined;
  /** The id on the current stream, or `noId`. */
  id: number;
  /** The watch has reported each event after this revision. Undefined until etcd has created the watch. */
  createdAt: bigint | undefined;
  newest: WatchEvent | undefined;
  /** Whether the present listener has taken it over, and is not called yet. */
  isResuming: boolean;
}

/** The id of a watch that is on no stream. */
export const noId = -1;

/** 32 clients of one name watch each other and themselves, and each may alternate between two keys. */
const maxIdle = 64;

export class IdleWatches {
  readonly #watches = new Map<string, Watch>();

  /** Keeps the watch if it may be resumed later. Returns the watch to cancel, if any: this one or the oldest. */
  add(watch: Watch): Watch | undefined {
    const { key } = watch.request;
    if (!isKeepable(watch.request) || this.#watches.has(key)) return watch;
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

export const isKeepable = ({ rangeEnd, deletesOnly }: WatchRequest): boolean => rangeEnd === undefined && deletesOnly === true;
