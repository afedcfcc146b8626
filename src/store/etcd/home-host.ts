/**
 * The way back to the home host: the one that a locker chose at random when it was created.
 *
 * A failure moves a locker to the next host. Without a way back, a restart of one member after the other leaves all lockers on one
 * of them. A return costs no call of a user: a read in the background shows first that the host is well (docs/decisions/016).
 */
import { isDenied, toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import { methods } from './raw-client.ts';
import { encodeRange } from './wire/encode.ts';

/** A probe is due after 1 to 6 times `requestTimeoutMs`: about a TTL or two, and not at the same time in a whole fleet. */
const spread = 5;
/** A host that fails again so many times `requestTimeoutMs` after a return is probed half as often. */
const steady = 30;
const maxFactor = 16;

export class HomeHost {
  readonly #host: Pick<Host, 'call'>;
  readonly #key: string;
  readonly #requestTimeoutMs: number;
  #dueAt = 0;
  #returnedAt = -Infinity;
  #factor = 1;

  /** @param prefix a key that the user may read */
  constructor(host: Pick<Host, 'call'>, prefix: string, requestTimeoutMs: number) {
    this.#host = host;
    this.#key = prefix === '' ? '\0' : prefix;
    this.#requestTimeoutMs = requestTimeoutMs;
  }

  /** Takes in that the host failed, and that the locker uses another one now. */
  onLeft(): void {
    const isFlapping = performance.now() - this.#returnedAt < steady * this.#requestTimeoutMs;
    this.#factor = isFlapping ? Math.min(2 * this.#factor, maxFactor) : 1;
    this.#schedule();
  }

  /** Whether it is time for a probe. */
  get isDue(): boolean {
    return performance.now() >= this.#dueAt;
  }

  /** Reads from the host. Resolves with true if it is well: it reaches a quorum, and is no learner. */
  async probe(timeoutMs: number): Promise<boolean> {
    this.#schedule();
    try {
      await this.#host.call(timeoutMs, methods.range, encodeRange({ key: this.#key, keysOnly: true }));
    } catch (error) {
      // etcd refuses for lack of permission only after it has asked the quorum.
      if (!isDenied(toFailure(error))) return false;
    }
    this.#returnedAt = performance.now();
    return true;
  }

  #schedule(): void {
    this.#dueAt = performance.now() + this.#factor * this.#requestTimeoutMs * (1 + spread * Math.random());
  }
}
