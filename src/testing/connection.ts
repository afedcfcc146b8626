/**
 * The way from lockers to a memory store: up or down, fast or slow.
 *
 * It behaves as a network that is cut: a request or response on its way waits until the connection is up, or until the request's own
 * time limit. A request whose limit has passed never reaches the store. Watches break, and are created again.
 */
import type { Clock, Instant } from '../clock.ts';
import { msUntil } from '../clock.ts';
import { EtcdUnavailableError, type HostFailure, OutcomeUnknownError } from '../errors.ts';
import type { Silence, WatchListener } from '../store/store.ts';

/** As of a locker with default options and one host. */
const requestTimeoutMs = 5_000;
const tryMs = requestTimeoutMs / 2;

interface RequestOptions {
  readonly timeoutMs?: number | undefined;
  readonly once?: boolean | undefined;
}

interface Watch {
  readonly listener: WatchListener;
  begin(): void;
  end(): void;
}

export class Connection {
  delayMs = 0;
  readonly #clock: Clock;
  readonly #watches = new Set<Watch>();
  /** What waits on the way while the connection is down, in order. */
  #waiting: (() => void)[] = [];
  #isUp = true;
  #unanswered = 0;
  /** When the first request after the last response was sent. */
  #silentSince: Instant | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  down(): void {
    if (!this.#isUp) return;
    this.#isUp = false;
    for (const watch of this.#watches) {
      watch.end();
      watch.listener.broken?.(0);
    }
  }

  up(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    const arriving = this.#waiting;
    this.#waiting = [];
    for (const arrive of arriving) arrive();
    for (const watch of this.#watches) watch.begin();
  }

  /**
   * Sends a request and resolves with its response.
   * @throws {EtcdUnavailableError} no response within `timeoutMs`
   * @throws {OutcomeUnknownError} the same, with `once`
   */
  async request<T>(send: () => Promise<T>, { timeoutMs = requestTimeoutMs, once = false }: RequestOptions = {}): Promise<T> {
    this.#unanswered += 1;
    this.#silentSince ??= this.#clock.now();
    let cancel = (): void => undefined;
    const isSlow = !this.#isUp || this.delayMs > 0;
    try {
      if (!isSlow) return await this.#noteResponse(send());
      return await new Promise<T>((resolve, reject) => {
        let isOver = false;
        cancel = this.#clock.setTimer(timeoutMs, () => {
          isOver = true;
          reject(once ? new OutcomeUnknownError(this.#failures()) : new EtcdUnavailableError(Math.round(timeoutMs), this.#failures()));
        });
        this.#pass(0, () => {
          if (isOver) return;
          const response = send();
          const respond = (): void => {
            this.#pass(this.delayMs, () => {
              if (isOver) return;
              this.#onResponse();
              resolve(response);
            });
          };
          response.then(respond, respond);
        });
      });
    } finally {
      cancel();
      this.#unanswered -= 1;
    }
  }

  /** Begins a watch by `begin`, now and after each break. The returned function ends it. */
  watch(begin: (listener: WatchListener) => () => void, listener: WatchListener): () => void {
    let notifications: (() => void)[] = [];
    let end = (): void => undefined;
    const later = (notify: () => void): void => {
      if (this.delayMs === 0 && notifications.length === 0) {
        notify();
        return;
      }
      // Each timer delivers the oldest one, so that a smaller delay does not change the order.
      const queue = notifications;
      queue.push(notify);
      this.#clock.setTimer(this.delayMs, () => queue.shift()?.());
    };
    const watch: Watch = {
      listener,
      begin: () => {
        end = begin({
          created: (revision) => {
            later(() => {
              listener.created(revision);
            });
          },
          events: (events) => {
            later(() => {
              listener.events(events);
            });
          },
        });
      },
      end: () => {
        end();
        notifications.length = 0;
        notifications = [];
      },
    };
    this.#watches.add(watch);
    if (this.#isUp) watch.begin();
    return () => {
      this.#watches.delete(watch);
      watch.end();
    };
  }

  silence(): Silence | undefined {
    if (this.#silentSince === undefined) return undefined;
    const forMs = -msUntil(this.#silentSince, this.#clock.now());
    return { forMs, isOutage: forMs >= tryMs, hosts: this.#failures() };
  }

  /** Lets something arrive after `delayMs`, or as soon as the connection is up after that. */
  #pass(delayMs: number, arrive: () => void): void {
    const arriveIfUp = (): void => {
      if (this.#isUp) arrive();
      else this.#waiting.push(arrive);
    };
    if (delayMs > 0) this.#clock.setTimer(delayMs, arriveIfUp);
    else arriveIfUp();
  }

  /** A refusal is a response too. */
  #noteResponse<T>(response: Promise<T>): Promise<T> {
    return response.finally(() => {
      this.#onResponse();
    });
  }

  #onResponse(): void {
    this.#silentSince = this.#unanswered > 1 ? this.#clock.now() : undefined;
  }

  #failures(): HostFailure[] {
    return [{ host: 'memory', reason: this.#isUp ? 'no response' : 'the memory store is down' }];
  }
}
